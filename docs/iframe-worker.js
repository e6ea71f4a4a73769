// Browsers start no Worker from a page that lies on disk. There its script runs in a hidden frame, so that the search works.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.document.open();
      inside.document.write("<!DOCTYPE html><title>worker</title><body></body>");
      inside.document.close();
      // What the script posts comes out here, and would else come back to itself.
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      script.src = url;
      this.ready = new Promise((done) => script.addEventListener("load", done));
      inside.document.body.append(script);
      this.deliver = (data) => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }

    postMessage(data) {
      this.ready.then(() => this.deliver(data));
    }
  };
  window.Worker = window.IFrameWorker;
}

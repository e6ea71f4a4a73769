"""What a person looks at: the pages of a report and of a review, and the contact sheets."""

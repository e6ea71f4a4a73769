"""What a data set is made of: which frames, which subsets, which noise. Arrays in, arrays out."""

"""The page of `nola explore`: a map of a data set's images with what every method predicts for them."""

"""What can be said about the images and the names without a label: images that fit no name, names that do not occur."""

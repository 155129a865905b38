"""The commands of `nola`, a module a group. None imports anything heavy before it is called."""

"""Collections of images: their definition (`data/<name>.yaml`), their readers, and the manifest."""

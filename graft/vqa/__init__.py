"""Questions about satellite images, answered by small programs over what an encoder sees."""

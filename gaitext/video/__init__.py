"""Video files and folders of pictures: reading, writing, what a recording's own numbers state, digests."""

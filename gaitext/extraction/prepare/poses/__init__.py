"""From released poses to leaves ``<id>/<type>/<view>/2_poses_frame.pkl``: one file a dataset, one way to make them."""

"""The adapter between gaitext's networks and whoever trains them."""

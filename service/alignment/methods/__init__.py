"""Ways to the best point, one file each, all behind `port.Method`."""

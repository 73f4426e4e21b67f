"""The synchronous, threaded SDK for the LaserSell Exit Intelligence Stream."""

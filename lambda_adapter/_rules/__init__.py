"""What AWS and this package accept: limits, the names of functions, and checks of parameters."""

"""What goes over the wire: a request becomes a payload and its arguments, a function's bytes become an answer."""

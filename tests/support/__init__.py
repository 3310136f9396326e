"""What tests share: servers and stand-ins on loopback."""

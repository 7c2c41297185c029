"""A small mesh of real Envoys on loopback that holds recorded configuration."""

"""The control-plane side: publishes what is declared."""

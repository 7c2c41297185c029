"""From what the control plane declares to the policies that one proxy should hold."""

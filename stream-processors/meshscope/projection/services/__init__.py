"""The services of the mesh and who serves them."""

"""A small mesh of real Envoys on loopback that holds configuration recorded from a real istiod.

`model` and `recording` read what ships in `data/`; `faults`, `overlays`, `mesh` and `ads` decide,
as pure functions, what each proxy is served; `discovery`, `secrets`, `envoy`, `applications`,
`traffic` and `control` do the I/O; `runtime` puts them together. Other programs talk to a running
sandbox through `client.SandboxClient`.
"""

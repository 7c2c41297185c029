"""What EnvoyFilters, WasmPlugins and TrafficExtensions change behind the other resources' backs.

Patches in force (`in_force`) are applied to the policies that the other resources make, target by
target (`modelled`). What a patch does beyond the modelled subset leaves the policies that it may
touch (`parts`) open, and only those.
"""

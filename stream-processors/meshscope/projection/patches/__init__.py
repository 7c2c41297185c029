"""What EnvoyFilters, WasmPlugins and TrafficExtensions change behind the other resources' backs."""

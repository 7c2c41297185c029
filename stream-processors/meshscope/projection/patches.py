"""What EnvoyFilters and WasmPlugins may change, and of which therefore nothing can be said.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/ and
https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/.
"""

from meshscope.projection.context import Context, Contribution


def patches(context: Context) -> Contribution:
    """Parts of the proxy's policies that patches in scope may touch."""
    return Contribution()

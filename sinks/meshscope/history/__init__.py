"""The ClickHouse history: migrations, writer, query library."""

"""From files to nets: names, layouts, configurations, loading, saving, downloads."""

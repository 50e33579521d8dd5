"""Settings: YAML files overlaid by the environment, into one frozen typed object.

- `settings`: what can be set, with meaning, unit and reason of each key
- `load`: `load(environ, directory) -> Settings`, or every problem at once
- `resolve`: agents and rules as plain values, ready for hosts
- `errors`: SettingsError and the Problems it carries

Owns where a value comes from and whether it may be what it is. Must not start, connect or read
anything but its own files and the environment it is given; nothing below `serve_app`, the
launcher and the Ray shells may read it.
"""

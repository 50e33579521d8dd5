"""What `make` runs: the set-up of a machine, and one instance of Troupe on it.

- `bootstrap`: the virtual environment; standard library only, for it runs before anything is there
- `supervisor`: `make run`: starts everything below, says so, and takes it down again
- `servers`, `keeper`, `postgres`, `valkey`: the embedded servers, shared by a checkout's instances
- `ray_env`, `ray_node`, `driver`: a local Ray, its settings, and the application on it
- `nursery`, `entry`, `quiet_agent`: how Ray's processes start in a tenth of the time
- `places`, `processes`, `console`: where things lie, what runs, what is said
- `check_cluster`, `check_locks`: parts of `make check`

Nothing else may import this package. It must not know what a session, turn or agent adapter is:
it reads settings and calls `serve_app.run`.
"""

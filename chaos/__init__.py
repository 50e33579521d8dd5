"""The proof behind `make chaos`: parts of a running Troupe are killed while people talk to it.

    plan        what is asked of a run: sessions, seconds, seed, which faults
    conductor   the order of a run: start, talk, strike, settle, look, judge
    instance    a Troupe of its own: its processes, whether it is well again
    faults      what each fault does; `hand` asks the cluster for those that Ray has to do
    schedule    which fault when: each in turn, then at random from a seed
    crowd       all sessions; one is a `native`, `stream` or `stock` client, all with one `backoff`
    view        what a client shows, by the protocol's rules, and when it came
    record      what was said and shown in one session, and what the store holds of it
    store       reads the latter through the public API
    check       compares the two and counts; `plants` are the defects that it must find
    silence     how long a running answer was silent after each fault
    report      table and JSON; `plot` draws

Nothing here may import what is proven: it is seen as a client sees it, and as processes.
"""

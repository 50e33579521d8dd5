"""The benchmark behind `make bench`: Troupe beside a stateless proxy, one load, one machine.

    plan        what is asked of a run: session counts, seconds, seed, the script of the provider
    servers     starts and stops what is measured: simulator, proxy, Troupe
    load        the load generator, a process of its own; `client` is one of its sessions,
                `frames` the WebSocket wire, `window` what is counted
    generator   the conductor's handle on that process, and on others that take commands
    processes   CPU and memory of a whole tree of processes, by kind
    conductor   the order of the part `load`: start, warm, idle, load, stop, for each count
    wake        the part `wake`: sessions woken in hosts of the bench's own and by their clients
    waker       such a host, a process of its own
    sleep       the part `sleep`: sockets whose sessions sleep, and some that talk among them
    rules       the part `rules`: what a decision over many rules costs; `decider` is the process
                that makes them
    storm       the part `storm`: a provider fails under load
    stats       the arithmetic: percentiles, lost and doubled tokens, CPU a turn
    figures     what one target did under one load, put together
    verdict     the promised limits against the figures
    report      table and JSON; `plot` draws, `facts` says on which machine
    proxy       the yardstick: what the job costs with no state at all

Nothing here but `waker` and `decider` may import Troupe: it is measured from outside, as a client
and as processes. What the parts measure and how: docs/bench.md.
"""

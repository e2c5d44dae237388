"""FlareDB beside its peers on one machine, in one run, in turns.

`python -m tests.bench --against etcd,jetstream` measures this project with three stores, a 3-node
etcd, and JetStream KV with three replicas.

What is measured: linearizable single-key puts of 256-byte values over 100,000 distinct keys, with
1, 16, 64 and 256 in flight, and linearizable gets with 64 in flight of keys that were put before.
A closed loop: each of n callers waits for its answer before it calls again. Per figure: answers per
second, and the 50th and 99th percentile of the time from call to answer.

Why it is fair:

- The same machine, disk, value, keys in the same order, seconds and warm-up for all. Rounds go
  A B C A B C, so that what else the machine does hits all alike; figures are medians over rounds,
  with their minimum and maximum. Only the one that is being measured runs; it starts empty.
- Every acknowledged put is synced on a majority of three disks by all of them: etcd and FlareDB by
  default, JetStream with `sync_interval: always`. The data lies on a real disk (a file system in
  memory is refused) and what one sync costs there is told.
- The driver shares the machine, so each has its cheapest one. etcd is driven by raw HTTP/2 frames
  at its leader: a gRPC client in Python would cost more than etcd itself. `h2load`, which is C, and
  this driver put one single key in the same run, which tells whether the driver is the bottleneck.
  JetStream is driven by nats-py at the stream's leader, FlareDB by its own client, as their users
  would; what each driver used of the cores is told.
- JetStream has no linearizable get; measured is what comes nearest, a get from the stream's leader.
"""

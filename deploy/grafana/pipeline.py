"""Pipeline: for those who run liveshop. Is anything wrong, is it fast enough, what comes in, and down to the machine."""

from typing import Final

from deploy.grafana.board import ANY, JOB, ONE, WORKER, Board, Limits, Panel, Query, Row

QUIET: Final = "nothing of the kind has happened"


def _quantiles(histogram: str, span: str = "5m", empty: str = "", by: str = "") -> tuple[Query, ...]:
    """Median and the 99th of 100."""
    labels = f"le, {by}" if by else "le"
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by ({labels}) "
            f'(rate(liveshop_{histogram}_bucket{{job="$job",instance=~"$instance"}}[{span}])))',
            name,
            empty,
        )
        for share, name in ((0.99, "99 of 100"), (0.5, "half"))
    )


def _worker(metric: str) -> str:
    return f'{metric}{{job="$job",instance=~"$instance"}}'


WRONG: Final = Row(
    "Is anything wrong?",
    (
        Panel(
            "Alerts that fire",
            "table",
            "short",
            "Rules of deploy/prometheus that fire. The name leads to the page that says what to do.",
            (
                Query(
                    'count by (alertname, severity) (ALERTS{alertstate="firing",alertname=~"Liveshop.+"})',
                    "how many",
                    "no alert fires",
                ),
            ),
            columns={"alertname": "Alert", "severity": "Severity"},
            link="${runbook}/$value.md",
            height=8,
        ),
        Panel(
            "Workers that answer",
            "stat",
            "short",
            "Workers that Prometheus could scrape. The partitions of one that is down are taken over by the others.",
            (Query('sum(up{job="$job"})', "workers"),),
            alerts=("LiveshopWorkerDown", "LiveshopNoWorkers", "LiveshopProcessDown"),
            limits=Limits(page=ONE, below=True),
            width=4,
            height=4,
        ),
        Panel(
            "Not ready",
            "stat",
            "short",
            "Workers that answer and are not ready. /readyz of each says why.",
            (Query('count(liveshop_ready{job="$job"}) - sum(liveshop_ready{job="$job"})', "workers"),),
            alerts=("LiveshopNotReady",),
            limits=Limits(ticket=ANY),
            width=4,
            height=4,
        ),
        Panel(
            "Partitions without a worker",
            "stat",
            "short",
            "Partitions of each topic that nobody counts. For a moment while they change hands, more than that is a "
            "page.",
            (Query('max(liveshop_partitions{job="$job"}) - sum(liveshop_shards_assigned{job="$job"})', "partitions"),),
            alerts=("LiveshopPartitionsUnassigned",),
            limits=Limits(page=ANY),
            width=4,
            height=4,
        ),
        Panel(
            "Brokers that answer",
            "stat",
            "short",
            "As the worker sees it that reaches the fewest.",
            (Query('min(liveshop_brokers_connected{job="$job"})', "brokers"),),
            alerts=("LiveshopBrokersAway",),
            limits=Limits(page=ONE, below=True),
            width=4,
            height=4,
        ),
        Panel(
            "Delay",
            "stat",
            "s",
            "How far the newest record read is behind the wall clock, of the topic that is furthest behind.",
            (Query('max(job_topic:liveshop_lag_seconds:max{job="$job"})', "delay"),),
            alerts=("LiveshopDelayHigh", "LiveshopDelayCritical"),
            limits=Limits("delay_ticket_seconds", "delay_page_seconds"),
            width=4,
            height=4,
        ),
        Panel(
            "Stuck",
            "stat",
            "s",
            "For how long a partition has had records to read and has read none: the worst of all. After "
            "--stuck-after the worker ends itself.",
            (Query('max(max_over_time(liveshop_stuck_seconds{job="$job"}[5m]))', "in 5 minutes"),),
            alerts=("LiveshopStuck",),
            limits=Limits(page="stuck_seconds"),
            width=4,
            height=4,
        ),
        Panel(
            "Not committed",
            "stat",
            "s",
            "For how long a partition has had something to commit and has committed nothing: the worst of all.",
            (Query('max(liveshop_uncommitted_seconds{job="$job"})', "now"),),
            alerts=("LiveshopNoCheckpoint",),
            limits=Limits(page="uncommitted_seconds"),
            width=4,
            height=4,
        ),
        Panel(
            "States refused",
            "stat",
            "short",
            "Partitions that stay down because their state cannot be continued, until somebody mends it.",
            (Query('sum(liveshop_state_refused{job="$job"})', "partitions"),),
            alerts=("LiveshopStateRefused",),
            limits=Limits(page=ONE),
            width=4,
            height=4,
        ),
    ),
)

FAST: Final = Row(
    "Is it fast enough?",
    (
        Panel(
            "Delay by input",
            "lines",
            "s",
            "How far the newest record read is behind the wall clock. It grows while workers are down and falls while "
            "they catch up.",
            (Query('job_topic:liveshop_lag_seconds:max{job="$job"}', "{{topic}}"),),
            alerts=("LiveshopDelayHigh", "LiveshopDelayCritical"),
            limits=Limits("delay_ticket_seconds", "delay_page_seconds"),
        ),
        Panel(
            "From broker to commit",
            "lines",
            "s",
            "From the broker's timestamp of a record until the checkpoint that counts it has committed. The goal: "
            "half within 0.7 s, 99 of 100 within 1.5 s.",
            (
                Query('job:liveshop_event_latency_seconds:p99_5m{job="$job"}', "99 of 100"),
                Query('job:liveshop_event_latency_seconds:p50_5m{job="$job"}', "half"),
            ),
        ),
        Panel(
            "Within the goal",
            "lines",
            "percentunit",
            "Share of the events of five minutes that were committed within 1.5 s of the broker's timestamp.",
            (
                Query(
                    'sum(rate(liveshop_event_latency_seconds_bucket{job="$job",le="1.5"}[5m]))'
                    ' / (sum(rate(liveshop_event_latency_seconds_count{job="$job"}[5m])) > 0)',
                    "within 1.5 s",
                ),
            ),
            most=1.0,
        ),
        Panel(
            "Records waiting",
            "lines",
            "short",
            "Committed records not yet read. A number of them says little by itself: compare it with the rate beside "
            "it.",
            (Query('job_topic:liveshop_lag_records:sum{job="$job"}', "{{topic}}"),),
        ),
        Panel(
            "Records read",
            "area",
            "eps",
            "Records a second that were read and committed, by input.",
            (Query('job_type:liveshop_events:rate5m{job="$job"}', "{{type}}"),),
            alerts=("LiveshopNoEvents",),
        ),
        Panel(
            "Windows after their end",
            "lines",
            "s",
            "From a window's end and the delay after it until its record was committed, by the wall clock.",
            _quantiles("emit_delay_seconds"),
        ),
    ),
)

INPUT: Final = Row(
    "What comes in?",
    (
        Panel(
            "What became of records",
            "area",
            "eps",
            "Every record read is one of these, and they add up. Repeats of about 1 % are usual.",
            (Query('sum by (outcome) (job_type_outcome:liveshop_events:rate5m{job="$job"}) > 0', "{{outcome}}"),),
        ),
        Panel(
            "Share of dead letters",
            "lines",
            "percentunit",
            "Records that could not be counted, as a share of their input, of inputs with enough records. A producer "
            "has changed or is broken.",
            (Query('job_type:liveshop_rejected:ratio5m{job="$job"}', "{{type}}"),),
            alerts=("LiveshopDeadLettersHigh", "LiveshopDeadLettersCritical"),
            limits=Limits("dead_letters_ticket_ratio", "dead_letters_page_ratio"),
        ),
        Panel(
            "Dead letters by reason",
            "bars",
            "short",
            "Records written to live.dead-letters in five minutes. docs/dead-letters.md says what each reason means.",
            (
                Query(
                    '300 * sum by (reason) (job_topic_reason:liveshop_dead_letters:rate5m{job="$job"}) > 0',
                    "{{reason}}",
                ),
            ),
            alerts=("LiveshopDeadLettersHigh",),
        ),
        Panel(
            "Share that came too late",
            "lines",
            "percentunit",
            "Records so late that their windows are gone, as a share of their input.",
            (Query('job_type:liveshop_late:ratio5m{job="$job"}', "{{type}}"),),
            alerts=("LiveshopLateEvents",),
            limits=Limits(ticket="late_ratio"),
        ),
        Panel(
            "Repeats",
            "lines",
            "percentunit",
            "Records that were counted before, as a share of their input. A collector that restarts sends again.",
            (
                Query(
                    'job_type_outcome:liveshop_events:rate5m{job="$job",outcome="duplicate"}'
                    ' / ignoring (outcome) (job_type:liveshop_events:rate5m{job="$job"} > 0)',
                    "{{type}}",
                ),
            ),
        ),
        Panel(
            "Too late for alerts",
            "lines",
            "percentunit",
            "Share of counted events that came after the delay: windows are corrected for them, alerts have been "
            "decided.",
            (
                Query(
                    'sum by (type) (rate(liveshop_events_not_on_time_total{job="$job"}[5m]))'
                    ' / sum by (type) (job_type_outcome:liveshop_events:rate5m{job="$job",outcome="counted"} > 0)',
                    "{{type}}",
                ),
            ),
        ),
        Panel(
            "What must not be",
            "stat",
            "short",
            "Of 15 minutes: records for panes that are gone, sessions under a wrong partition's key, offsets that "
            "retention deleted before they were read. Each loses numbers.",
            (
                Query('sum(increase(liveshop_dead_letters_total{job="$job",reason="pane_gone"}[15m]))', "pane gone"),
                Query('sum(increase(liveshop_misplaced_keys_total{job="$job"}[15m]))', "misplaced keys"),
                Query('sum(increase(liveshop_lost_offsets_total{job="$job"}[15m]))', "lost offsets"),
            ),
            alerts=("LiveshopPaneGone", "LiveshopMisplacedKeys", "LiveshopLostOffsets"),
            limits=Limits(page=ANY),
            height=6,
        ),
        Panel(
            "From the future",
            "lines",
            "short",
            "Records of 15 minutes whose event time lies ahead of the brokers' time: a producer's clock is wrong.",
            (
                Query(
                    'sum by (topic) (increase(liveshop_dead_letters_total{job="$job",reason="future"}[15m]))',
                    "{{topic}}",
                ),
            ),
            alerts=("LiveshopFutureEvents",),
            limits=Limits(ticket="future"),
            height=6,
        ),
        Panel(
            "Open transactions of producers",
            "lines",
            "s",
            "For how long the oldest has hidden what follows it from every reader. No lag shows it.",
            (
                Query(
                    'max by (topic) (liveshop_upstream_transaction_seconds{job="$job"})',
                    "{{topic}}",
                ),
            ),
            alerts=("LiveshopUpstreamTransactionOpen",),
            limits=Limits(page="open_transaction_seconds"),
            height=6,
        ),
    ),
)

EVENT_TIME: Final = Row(
    "Where does event time stand?",
    (
        Panel(
            "Watermark behind the clock",
            "lines",
            "s",
            "Wall clock less the event time up to which windows are closed, by partition. The delay is a part of it; "
            "one line apart from the others is a partition that is behind or has nothing to read.",
            (
                Query(
                    'time() - max by (partition) (liveshop_watermark_timestamp_seconds{job="$job"})',
                    "partition {{partition}}",
                ),
            ),
        ),
        Panel(
            "Windows written",
            "area",
            "eps",
            "Window records a second by why they were written. Many corrections: much comes late.",
            (Query('sum by (reason) (rate(liveshop_windows_total{job="$job"}[5m])) > 0', "{{reason}}"),),
        ),
        Panel(
            "Inputs left out",
            "bars",
            "short",
            "Partitions of a topic so far behind that windows and alerts are not held back for it. Not 0 for long: "
            "look at its producer.",
            (
                Query(
                    'sum by (topic) (liveshop_topic_left_out{job="$job"}) > 0', "{{topic}}", "all inputs are up to date"
                ),
            ),
        ),
        Panel(
            "Windows held",
            "lines",
            "short",
            "Windows that hold an event and are open, and closed ones kept for corrections.",
            (
                Query('sum by (window) (liveshop_windows_open{job="$job"})', "open, {{window}}"),
                Query('sum(liveshop_windows_closed_held{job="$job"})', "kept for corrections"),
            ),
        ),
        Panel(
            "Sessions",
            "lines",
            "short",
            "Sessions on air, and those held in memory.",
            (
                Query('sum(liveshop_sessions_open{job="$job"})', "on air"),
                Query('sum(liveshop_sessions_held{job="$job"})', "held"),
            ),
        ),
        Panel(
            "Session alerts",
            "bars",
            "short",
            "Records written to live.alerts in five minutes. Many of one rule: it flaps, or something large is wrong.",
            (
                Query(
                    'sum by (alert, status) (increase(liveshop_alert_transitions_total{job="$job"}[5m])) > 0',
                    "{{alert}} {{status}}",
                    "no session alert has begun or ended",
                ),
            ),
        ),
    ),
)

COMMITS: Final = Row(
    "Does it commit?",
    (
        Panel(
            "Checkpoints",
            "area",
            "cps",
            "Checkpoints a second by worker. Each is one transaction; a partition makes one when something has "
            "changed.",
            (
                Query(
                    f"sum by (instance) "
                    f"(rate({_worker('liveshop_checkpoint_duration_seconds_count')}[$__rate_interval]))",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "How long they take",
            "lines",
            "s",
            "From the start of a checkpoint until its transaction has committed. Mostly the brokers' time.",
            _quantiles("checkpoint_duration_seconds"),
        ),
        Panel(
            "Waiting to be committed",
            "lines",
            "s",
            "For how long a partition has had something to commit and has committed nothing: the worst of each worker.",
            (Query(f"max by (instance) ({_worker('liveshop_uncommitted_seconds')})", "{{instance}}"),),
            alerts=("LiveshopNoCheckpoint",),
            limits=Limits(page="uncommitted_seconds"),
        ),
        Panel(
            "Checkpoints that failed",
            "lines",
            "short",
            "In ten minutes, by error. One now and then is usual when brokers elect leaders; nothing is counted twice.",
            (
                Query(
                    'sum by (error) (increase(liveshop_transaction_failures_total{job="$job"}[10m]))',
                    "{{error}}",
                ),
            ),
            alerts=("LiveshopTransactionFailures",),
            limits=Limits(ticket="transaction_failures"),
            width=12,
            height=6,
        ),
        Panel(
            "Stuck",
            "lines",
            "s",
            "For how long a partition has had records to read and has read none.",
            (Query('max by (partition) (liveshop_stuck_seconds{job="$job"})', "partition {{partition}}"),),
            alerts=("LiveshopStuck",),
            limits=Limits(page="stuck_seconds"),
            width=12,
            height=6,
        ),
    ),
)

WORKERS: Final = Row(
    "Who does the work?",
    (
        Panel(
            "Partitions by worker",
            "area",
            "short",
            "Partitions that the group has given each worker. The sum is the number of partitions.",
            (Query(_worker("liveshop_shards_assigned"), "{{instance}}"),),
            alerts=("LiveshopPartitionsUnassigned",),
        ),
        Panel(
            "Assigned and not running",
            "bars",
            "short",
            "Partitions that are being restored, wait at records that cannot be read, or begin again and again.",
            (
                Query(
                    'count by (job) (max by (job, partition) (liveshop_shard_running{job="$job"}) == 0)',
                    "partitions",
                    "all partitions run",
                ),
            ),
            alerts=("LiveshopInputUnreadable", "LiveshopRecoveryTooLong", "LiveshopStateRefused"),
        ),
        Panel(
            "Reasons not to be ready",
            "bars",
            "short",
            "Workers by reason. docs/operate/readiness.md has them all.",
            (Query(f"sum by (reason) ({_worker('liveshop_unready')}) > 0", "{{reason}}", "every worker is ready"),),
            alerts=("LiveshopNotReady", "LiveshopInputUnreadable"),
        ),
        Panel(
            "Rebalances",
            "lines",
            "short",
            "Assignments that a worker took on in 15 minutes. A rolling restart of n workers makes about 2 n.",
            (Query(f"increase({_worker('liveshop_rebalances_total')}[15m])", "{{instance}}"),),
            alerts=("LiveshopRebalanceStorm",),
            limits=Limits(ticket="rebalances"),
        ),
        Panel(
            "How long rebalances take",
            "lines",
            "s",
            "99 of 100 in the last hour: from revocation until all kept and new shards run, and to restore one shard.",
            (
                Query(
                    f"histogram_quantile(0.99, sum by (le) "
                    f"(rate({_worker('liveshop_rebalance_duration_seconds_bucket')}[1h])))",
                    "rebalance",
                    "no partition has changed hands within the hour",
                ),
                Query(
                    f"histogram_quantile(0.99, sum by (le) "
                    f"(rate({_worker('liveshop_recovery_duration_seconds_bucket')}[1h])))",
                    "recovery",
                    "no partition has changed hands within the hour",
                ),
            ),
        ),
        Panel(
            "Starts",
            "lines",
            "short",
            "How often each worker was started anew in 30 minutes. The last lines of its log before it ended say why.",
            (
                Query(f"changes({_worker('process_start_time_seconds')}[30m])", "{{instance}}"),
                Query(
                    f"sum by (instance) (increase({_worker('liveshop_process_restarts_total')}[30m]))",
                    "processes of {{instance}}",
                    "only a worker with --processes has processes of its own",
                ),
            ),
            alerts=("LiveshopRestartLoop",),
            limits=Limits(page="restarts"),
        ),
        Panel(
            "What runs",
            "table",
            "short",
            "Version and settings of each worker. Settings are a hash of all but addresses and secrets: workers of "
            "one group have the same.",
            (Query(f"max by (instance, version, core, settings, python) ({_worker('liveshop_build_info')})", "runs"),),
            alerts=("LiveshopNotNative", "LiveshopSettingsDiffer"),
            columns={
                "instance": "Worker",
                "version": "Version",
                "core": "Hot path",
                "settings": "Settings",
                "python": "Python",
            },
            width=24,
            height=6,
        ),
    ),
)

ROOM: Final = Row(
    "Is there room?",
    (
        Panel(
            "Memory",
            "lines",
            "bytes",
            "Resident memory of each worker. The line is 80 % of the container's limit.",
            (Query(_worker("process_resident_memory_bytes"), "{{instance}}"),),
            alerts=("LiveshopMemoryHigh", "LiveshopMemoryGrowing"),
            limits=Limits(ticket="memory_bytes"),
        ),
        Panel(
            "State by partition",
            "lines",
            "bytes",
            "Live records of live.state, before compression: what a restart has to read.",
            (Query('max by (partition) (liveshop_state_bytes{job="$job"})', "partition {{partition}}"),),
            alerts=("LiveshopStateGrowing",),
            limits=Limits(ticket="state_bytes"),
        ),
        Panel(
            "Bounds",
            "lines",
            "percentunit",
            "How much of each bound is used, of the partition that uses most. At 100 % events are refused, or what is "
            "oldest is forgotten.",
            (Query('max by (bound) (liveshop_bound_used_ratio{job="$job"})', "{{bound}}"),),
            alerts=("LiveshopBoundNear", "LiveshopBoundReached"),
            limits=Limits("bound_ticket_ratio", "bound_page_ratio"),
        ),
        Panel(
            "Held against repeats",
            "lines",
            "short",
            "Ids of events, and checkouts, that are remembered.",
            (
                Query('sum(liveshop_dedupe_ids{job="$job"})', "event ids"),
                Query('sum(liveshop_checkout_keys{job="$job"})', "checkouts"),
            ),
        ),
        Panel(
            "Unpacked and waiting",
            "lines",
            "bytes",
            "Batches whose records wait to be counted. --buffer-memory bounds it.",
            (Query(_worker("liveshop_buffered_bytes"), "{{instance}}"),),
        ),
        Panel(
            "Garbage collections",
            "lines",
            "cps",
            "Python's own, of the oldest generation: each stops the worker for a moment.",
            (
                Query(
                    'sum by (instance) (rate(python_gc_collections_total{job="$job",instance=~"$instance"'
                    ',generation="2"}[5m]))',
                    "{{instance}}",
                ),
            ),
        ),
    ),
)

CPU: Final = Row(
    "What does the CPU do?",
    (
        Panel(
            "CPU by worker",
            "lines",
            "percentunit",
            "Of one core. A worker process uses one: near 100 % for long, add workers.",
            (Query(f"rate({_worker('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}"),),
        ),
        Panel(
            "CPU by activity",
            "area",
            "percentunit",
            "Of one core, what shards spend their time on, waiting aside: decode and count are the events, close the "
            "windows, checkpoint the commits, look these gauges.",
            (Query('job_activity:liveshop_activity_seconds:rate5m{job="$job",activity!~"idle|poll"}', "{{activity}}"),),
        ),
        Panel(
            "Stalls of the event loop",
            "lines",
            "s",
            "How late the event loop woke a timer. Whatever it does for long holds up all shards of the worker.",
            _quantiles("loop_lag_seconds"),
        ),
        Panel(
            "Cost of alert rules",
            "lines",
            "percentunit",
            "Of one core, to take in what sessions did and to ask the rules.",
            (
                Query(
                    f"sum by (instance) (rate({_worker('liveshop_alert_evaluation_seconds_total')}[5m]))",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Rules that cannot be told",
            "lines",
            "percentunit",
            "Share of a session alert's evaluations that failed. It did not fire then.",
            (
                Query(
                    'sum by (alert) (rate(liveshop_alert_evaluation_errors_total{job="$job"}[15m]))'
                    ' / (sum by (alert) (rate(liveshop_alert_evaluations_total{job="$job"}[15m])) > 0)',
                    "{{alert}}",
                ),
            ),
            alerts=("LiveshopRuleErrors",),
            limits=Limits(ticket="rule_errors_ratio"),
        ),
        Panel(
            "Clock",
            "lines",
            "s",
            "How far each worker's clock is from the brokers'. Their time is used wherever time decides.",
            (Query(f"abs({_worker('liveshop_clock_offset_seconds')})", "{{instance}}"),),
            alerts=("LiveshopClockWrong",),
            limits=Limits(ticket="clock_offset_seconds"),
        ),
    ),
)

PIPELINE: Final = Board(
    uid="liveshop-pipeline",
    title="Pipeline",
    description="Whether liveshop works: is anything wrong, is it fast enough, what comes in, does it commit, has it room.",
    hours=1,
    variables=(JOB, WORKER),
    rows=(WRONG, FAST, INPUT, EVENT_TIME, COMMITS, WORKERS, ROOM, CPU),
)

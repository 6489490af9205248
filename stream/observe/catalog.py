"""The names of all metrics, with type, help, labels and buckets: an API, declared here once, changed only by adding.

Base units, ``_total`` on counters. ``store.py`` and the collectors take names from nowhere else.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

PREFIX: Final = "liveshop_"

Rule: TypeAlias = Literal["sum", "max", "min"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. ``buckets`` are upper bounds without +Inf, ascending; only histograms have them.

    ``merge``: what the gauges of several processes make together. Those of a partition are the greatest: it is one
    process's at a time, and while it changes hands both may show it.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Rule = "sum"


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric("counter", f"{PREFIX}{name}_total", text, labels)


def _gauge(name: str, text: str, *labels: str, merge: Rule = "sum") -> Metric:
    return Metric("gauge", PREFIX + name, text, labels, merge=merge)


def _histogram(name: str, text: str, buckets: str, *labels: str) -> Metric:
    return Metric("histogram", PREFIX + name, text, labels, tuple(float(bound) for bound in buckets.split()))


# Records
EVENTS: Final = _counter(
    "events", "Committed records by input and by what became of them; the outcomes add up.", "type", "outcome"
)
EVENTS_NOT_ON_TIME: Final = _counter(
    "events_not_on_time",
    "Counted events that came too late for alerts (event time + delay <= their topic's clock), by input. "
    'Their share is this by liveshop_events_total{outcome="counted"}.',
    "type",
)
DEAD_LETTERS: Final = _counter(
    "dead_letters",
    "Records written to live.dead-letters, by the input they came from and by reason.",
    "topic",
    "reason",
)
LOST_OFFSETS: Final = _counter(
    "lost_offsets", "Offsets that retention deleted before they were read (an upper bound of records)."
)
MISPLACED_KEYS: Final = _counter(
    "misplaced_keys", "New sessions whose key belongs to another partition: a producer partitions differently."
)
LAG_RECORDS: Final = _gauge(
    "lag_records", "Committed records not yet read; absent while that is not known.", "topic", "partition", merge="max"
)
LAG_SECONDS: Final = _gauge(
    "lag_seconds",
    "How far the newest record read is behind the wall clock; 0 when caught up, absent while that is not known.",
    "topic",
    "partition",
    merge="max",
)
# 0.7 s and 1.5 s are bounds, so that the shares of the goal (median 0.7 s, 99 of 100 in 1.5 s) are exact.
EVENT_LATENCY: Final = _histogram(
    "event_latency_seconds",
    "From the broker's timestamp of a record until the checkpoint that counts it has committed.",
    "0.05 0.1 0.2 0.3 0.5 0.7 0.85 1 1.25 1.5 2 3 5 10 30 60 300",
    "type",
)

# Event time
WATERMARK: Final = _gauge(
    "watermark_timestamp_seconds",
    "Event time up to which the windows of the shard are closed.",
    "partition",
    merge="max",
)
TOPIC_LEFT_OUT: Final = _gauge(
    "topic_left_out",
    "1 while what a topic says is so far behind that windows and alerts are not held back for it.",
    "topic",
    "partition",
    merge="max",
)
SHARD_IDLE: Final = _gauge(
    "shard_idle",
    "1 while all inputs of the shard are read to their end and silent: the wall clock closes its windows.",
    "partition",
    merge="max",
)
WINDOWS: Final = _counter("windows", "Window records written to live.session-windows.", "window", "reason")
WINDOWS_OPEN: Final = _gauge(
    "windows_open",
    "Windows that hold an event and are not closed yet, neither by the watermark nor by silence.",
    "window",
)
WINDOWS_CLOSED_HELD: Final = _gauge("windows_closed_held", "Closed windows kept for corrections by late events.")
EMIT_DELAY: Final = _histogram(
    "emit_delay_seconds",
    "From a window's end + delay until its record was committed, in wall clock.",
    "0.1 0.25 0.5 0.75 1 1.5 2 3 5 10 30 60 300",
)
SESSION_RECORDS: Final = _counter("session_records", "Records of running totals written to live.sessions.")
PROMOTIONS: Final = _counter("promotions", "Promotions of a replay's results by what came to be of them.", "outcome")
PROMOTIONS_WAITING: Final = _gauge(
    "promotions_waiting", "Promotions that are not applied yet: their windows are not final, or they are not whole."
)
CONCURRENT_VIEWERS: Final = _gauge(
    "concurrent_viewers",
    "Viewers in all broadcasts at once: of each session the newest sample of the newest two minutes of event time.",
)
PLATFORM_EVENTS: Final = _gauge(
    "platform_events_recent", "Events of the newest two minutes of event time, by platform.", "platform"
)
SESSIONS_OPEN: Final = _gauge("sessions_open", "Sessions that have not ended.")
SESSIONS_HELD: Final = _gauge("sessions_held", "Sessions whose totals are held in memory, ended ones included.")
KNOWN_SESSIONS: Final = _gauge(
    "known_sessions",
    "Sessions that an input's partition knows; from max_sessions on it refuses events of others.",
    "type",
    "partition",
    merge="max",
)
DELAY: Final = _gauge(
    "delay_seconds",
    "The setting: how long a window stays open for late events. The watermark is that much behind the newest events.",
    merge="max",
)
MAX_SESSIONS: Final = _gauge(
    "max_sessions", "The setting: how many sessions an input's partition may know.", merge="max"
)
SESSIONS_GONE: Final = _gauge(
    "sessions_gone", "Sessions remembered after their totals were let go.", "partition", merge="max"
)
BOUND_USED: Final = _gauge(
    "bound_used_ratio",
    "How much of a bound on what the shard holds is used; from 1 on events are refused, or what is oldest is forgotten.",
    "bound",
    "partition",
    merge="max",
)
TOTALS_FROZEN: Final = _counter(
    "totals_frozen", "Sessions that came back after their totals were let go; live.sessions keeps the old totals."
)

# Ready, and moving
READY: Final = _gauge("ready", "1 while /readyz answers 200.", merge="min")
UNREADY: Final = _gauge(
    "unready", "1 while this is a reason not to be ready; /readyz has the whole line.", "reason", merge="max"
)
PARTITIONS: Final = _gauge(
    "partitions", "Partitions of each topic that are counted: as many shards have to be assigned.", merge="max"
)
SHARDS_ASSIGNED: Final = _gauge("shards_assigned", "Shards that the group has assigned to this worker.")
SHARD_RUNNING: Final = _gauge(
    "shard_running",
    "1 while an assigned shard is restored and reads, 0 while it is being restored, waits, fails or is refused.",
    "partition",
    merge="max",
)
STUCK: Final = _gauge(
    "stuck_seconds",
    "For how long a shard has had records to read and has read none; 0 while it reads, or there is nothing to read.",
    "partition",
    merge="max",
)
UNCOMMITTED: Final = _gauge(
    "uncommitted_seconds",
    "For how long a shard has had something to commit and has committed nothing; 0 while there is nothing to commit.",
    "partition",
    merge="max",
)
OPEN_TRANSACTION: Final = _gauge(
    "upstream_transaction_seconds",
    "For how long the oldest open transaction of a producer has hidden what follows it from every reader; 0 without one.",
    "topic",
    "partition",
    merge="max",
)

# The protocol
CHECKPOINT_DURATION: Final = _histogram(
    "checkpoint_duration_seconds",
    "From the start of a checkpoint until its transaction has committed.",
    "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30",
)
CHECKPOINT_TIMESTAMP: Final = _gauge(
    "checkpoint_timestamp_seconds",
    "When the last checkpoint committed; one is made only when something has changed.",
    "partition",
    merge="max",
)
TRANSACTION_FAILURES: Final = _counter("transaction_failures", "Checkpoints that were not committed.", "error")
CLOCK_OFFSET: Final = _gauge(
    "clock_offset_seconds",
    "How far this machine's wall clock is ahead of the brokers' (negative: behind); 0 until a broker has told.",
    merge="max",
)
REBALANCES: Final = _counter("rebalances", "Assignments of partitions that were taken on.")
REBALANCE_DURATION: Final = _histogram(
    "rebalance_duration_seconds",
    "From revocation until all kept and new shards run.",
    "0.1 0.25 0.5 1 2.5 5 10 30 60 120",
)
RECOVERY_DURATION: Final = _histogram(
    "recovery_duration_seconds",
    "Time to restore a shard from live.state.",
    "0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 120",
)
RECOVERY_RECORDS: Final = _counter("recovery_records", "Records of live.state that shards were restored from.")
BROKERS_CONNECTED: Final = _gauge(
    "brokers_connected",
    "Brokers that answered within the last seconds; 0 while none does. Lag is unknown then, and its series are absent.",
    merge="min",
)
STATE_REFUSED: Final = _gauge(
    "state_refused",
    "1 while a shard stays down because its state cannot be continued; the log and /readyz say why, and the way out.",
    "partition",
    merge="max",
)
PARTITIONS_ADDED: Final = _gauge(
    "partitions_added",
    "Partitions of a topic beyond those that are counted. Not 0: nothing is counted until a new set of topics takes over; "
    "the log and /readyz say how.",
    "topic",
    merge="max",
)
STATE_BYTES: Final = _gauge(
    "state_bytes", "Size of the shard's live records in live.state, before compression.", "partition", merge="max"
)
DEDUPE_IDS: Final = _gauge("dedupe_ids", "Event ids held against duplicates.", "partition", merge="max")
CHECKOUT_KEYS: Final = _gauge(
    "checkout_keys", "Checkouts held against webhooks that were sent again.", "partition", merge="max"
)
ACTIVITY: Final = _counter("activity_seconds", "Seconds that shards spent on each activity.", "activity")
BUFFERED_BYTES: Final = _gauge(
    "buffered_bytes",
    "Memory of unpacked batches whose records wait to be counted, all shards together; buffer_memory bounds it.",
)
LOOP_LAG: Final = _histogram(
    "loop_lag_seconds", "How late the event loop woke a timer.", "0.001 0.005 0.01 0.02 0.05 0.1 0.25 0.5 1 5 10"
)
FULL_COLLECTIONS: Final = _counter(
    "full_collections",
    "Garbage collections over all objects: after a shard has ended, and now and then in an idle moment.",
)
FULL_COLLECTION_SECONDS: Final = _counter(
    "full_collection_seconds", "Seconds that the event loop stood still for garbage collections over all objects."
)

# Business totals: they move when a checkpoint commits, so that a crash counts nothing twice
VIEWS: Final = _counter("views", "Viewers who entered a broadcast.")
PRODUCT_CLICKS: Final = _counter("product_clicks", "Clicks on a product.")
COMMENTS: Final = _counter("comments", "Comments.")
ORDERS_PAID: Final = _counter("orders_paid", "Orders: paid checkouts and started cash-on-delivery checkouts.")
GMV: Final = _counter("gmv_minor", "Value of orders in minor units of the currency.", "currency")
SOURCE_VIEWS: Final = _counter(
    "source_views",
    "Views in closed windows of the first configured kind, by where the viewer came from. Compare shares, not sums: "
    "corrections do not count, and windows that overlap count a view more than once.",
    "source",
)
SOURCE_ORDERS: Final = _counter("source_orders", "Orders in the same windows, by where the buyer came from.", "source")
CONVERSION: Final = _histogram(
    "conversion_ratio",
    "Orders by views of each closed window of the first configured kind.",
    "0 0.001 0.0025 0.005 0.01 0.015 0.02 0.03 0.05 0.075 0.1 0.15 0.2 0.3 0.5 1",
)

# Alerts
ALERTS_PENDING: Final = _gauge(
    "alerts_pending", "Session alerts whose condition holds, but not for long enough yet.", "alert", "severity"
)
ALERTS_FIRING: Final = _gauge("alerts_firing", "Session alerts that fire.", "alert", "severity")
ALERT_TRANSITIONS: Final = _counter("alert_transitions", "Records written to live.alerts.", "alert", "status")
ALERT_EVALUATIONS: Final = _counter(
    "alert_evaluations", "How often a rule was asked about a session at the end of a slide.", "alert"
)
ALERT_EVALUATION_ERRORS: Final = _counter(
    "alert_evaluation_errors", "How often a rule's condition could not be told, and so did not hold.", "alert"
)
ALERT_EVALUATION_SECONDS: Final = _counter(
    "alert_evaluation_seconds", "Seconds spent on taking in what sessions did and on asking the rules."
)

# The busiest sessions, the rest summed as session_id="_other"; running totals, not yet committed
SESSION_VIEWS: Final = _gauge("session_views", "Viewers who entered, so far.", "session_id")
SESSION_PRODUCT_CLICKS: Final = _gauge("session_product_clicks", "Clicks on products, so far.", "session_id")
SESSION_COMMENTS: Final = _gauge("session_comments", "Comments, so far.", "session_id")
SESSION_COMMENT_RATE: Final = _gauge(
    "session_comments_per_minute", "Comments a minute over the newest two minutes of event time.", "session_id"
)
SESSION_VIEWERS: Final = _gauge(
    "session_concurrent_viewers",
    "Viewers at once, by the newest sample of the newest two minutes of event time; absent without one.",
    "session_id",
)
SESSION_ORDERS_PAID: Final = _gauge("session_orders_paid", "Orders, so far.", "session_id")
SESSION_GMV: Final = _gauge("session_gmv_minor", "Value of orders so far, minor units.", "session_id", "currency")
SESSION_EVENTS: Final = _gauge(
    "session_events_recent", "Events of the newest two minutes of event time: the order of the list.", "session_id"
)
SESSION_INFO: Final = _gauge(
    "session_info",
    "1; whose a session is, as its newest event says. What it and its seller are called is empty where no start says it.",
    *("session_id", "seller_id", "title", "seller_name"),
    merge="max",
)
SESSION_ALERTS_FIRING: Final = _gauge(
    "session_alerts_firing",
    "1 while an alert fires for a session; under _other, of how many sessions that are not shown.",
    *("session_id", "alert", "severity"),
)
SESSIONS_TRUNCATED: Final = _gauge("sessions_truncated", "Sessions held that are summed under _other.")

BUILD: Final = _gauge(
    "build_info",
    "Always 1; the labels say what runs: core is native or interpreted (and native true or false), settings is a hash of "
    "all but addresses and secrets.",
    "version",
    "python",
    "core",
    "settings",
    "native",
    merge="max",
)

CATALOG: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""What every worker shows."""

# Several worker processes behind one page
PROCESSES: Final = _gauge("processes", "Worker processes that are to run.")
PROCESSES_UP: Final = _gauge(
    "processes_up", "Worker processes whose gauges are on this page; the others did not answer."
)
PROCESS_RESTARTS: Final = _counter("process_restarts", "Worker processes that ended and were started again.", "process")
SUPERVISOR: Final = (PROCESSES, PROCESSES_UP, PROCESS_RESTARTS)
"""What the page for all of them shows besides."""

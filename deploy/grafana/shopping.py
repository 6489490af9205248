"""Live shopping: for those who run broadcasts. What is wrong, how it goes in total, then each broadcast."""

from typing import Final

from deploy.grafana.board import ANY, JOB, Board, Limits, Panel, Query, Row

BUSY: Final = 'topk(15, sum by (session_id) (session:liveshop_session_events_recent:sum{job="$job"}))'
NO_YESTERDAY: Final = "nothing is known of the same hour of yesterday"


def _of_busy(expr: str) -> str:
    return f"{expr} and on (session_id) {BUSY}"


def _session(figure: str) -> str:
    return f'sum by (session_id) (session:liveshop_session_{figure}:sum{{job="$job"}})'


WRONG: Final = Row(
    "What is wrong?",
    (
        Panel(
            "Alerts of broadcasts",
            "stat",
            "short",
            "Session alerts that fire now, by severity: page means act now, ticket look today, info good to know. "
            "`liveshop alerts` lists them with their sessions.",
            (Query('sum by (severity) (liveshop_alerts_firing{job="$job"})', "{{severity}}"),),
            limits=Limits(page=ANY),
            width=8,
            height=6,
        ),
        Panel(
            "Which alerts",
            "bars",
            "short",
            "Session alerts that fire, by rule, and since when. Each is decided in event time, so an outage of the "
            "pipeline delays an alert and makes none.",
            (
                Query(
                    'sum by (alert) (liveshop_alerts_firing{job="$job"}) > 0',
                    "{{alert}}",
                    "no alert of a broadcast fires",
                ),
            ),
            height=6,
        ),
        Panel(
            "Alerts of liveshop itself",
            "table",
            "short",
            "What is wrong with the pipeline, so that figures here may be late or missing. The name leads to its page.",
            (
                Query(
                    'count by (alertname, severity) (ALERTS{alertstate="firing",alertname=~"Liveshop.+"})',
                    "how many",
                    "no alert of the pipeline fires",
                ),
            ),
            columns={"alertname": "Alert", "severity": "Severity"},
            link="${runbook}/$value.md",
            height=6,
        ),
    ),
)

TOTAL: Final = Row(
    "How does it go in total?",
    (
        Panel(
            "On air",
            "stat",
            "short",
            "Broadcasts that have not ended.",
            (Query('sum(liveshop_sessions_open{job="$job"})', "sessions"),),
            width=4,
            height=5,
        ),
        Panel(
            "Viewers at once",
            "stat",
            "short",
            "What the platforms show, all broadcasts together: the newest sample of each, not older than two minutes "
            "of event time.",
            (Query('sum(job:liveshop_concurrent_viewers:sum{job="$job"})', "viewers"),),
            width=4,
            height=5,
        ),
        Panel(
            "Conversion",
            "stat",
            "percentunit",
            "Orders by views of the last five minutes, over all broadcasts.",
            (Query('avg(job:liveshop_conversion:ratio5m{job="$job"})', "orders / views"),),
            width=4,
            height=5,
            decimals=2,
        ),
        Panel(
            "Orders",
            "stat",
            "cpm",
            "Orders a minute, over the last five: paid checkouts, and cash on delivery when it is begun. Red: none at "
            "all.",
            (Query('60 * sum(job:liveshop_orders_paid:rate5m{job="$job"})', "orders"),),
            alerts=("LiveshopNoOrders",),
            limits=Limits(page=ANY, below=True),
            width=4,
            height=5,
            decimals=1,
        ),
        Panel(
            "GMV of an hour",
            "stat",
            "currency${currency}",
            "Value of the orders of the last hour. Cancels and refunds do not reduce it.",
            (
                Query(
                    'sum(job_currency:liveshop_gmv_minor:increase1h{job="$job",currency="${currency}"}) / ${minor_units}',
                    "GMV",
                ),
            ),
            alerts=("LiveshopGmvLow",),
            width=4,
            height=5,
        ),
        Panel(
            "Of yesterday's GMV",
            "stat",
            "percentunit",
            "GMV of the last hour as a share of the same hour of yesterday. Amber where the rules ask for a ticket; "
            "they also ask for enough GMV yesterday.",
            (
                Query(
                    'sum(job_currency:liveshop_gmv_minor:increase1h{job="$job",currency="${currency}"})'
                    ' / sum(job_currency:liveshop_gmv_minor:increase1h{job="$job",currency="${currency}"} offset 1d)',
                    "of yesterday",
                    NO_YESTERDAY,
                ),
            ),
            alerts=("LiveshopGmvLow",),
            limits=Limits(ticket="gmv_ratio", below=True),
            width=4,
            height=5,
        ),
    ),
)

COURSE: Final = Row(
    "How has it gone?",
    (
        Panel(
            "Who comes",
            "lines",
            "cpm",
            "Views, clicks on products and comments a minute, all broadcasts together. When all fall at once, look at "
            "the platforms below and at the pipeline.",
            (
                Query('60 * sum(job:liveshop_views:rate5m{job="$job"})', "views"),
                Query('60 * sum(job:liveshop_product_clicks:rate5m{job="$job"})', "product clicks"),
                Query('60 * sum(job:liveshop_comments:rate5m{job="$job"})', "comments"),
            ),
            alerts=("LiveshopNoEvents",),
        ),
        Panel(
            "Conversion beside its usual",
            "lines",
            "percentunit",
            "Orders by views of five minutes, and the average of the hour before. Orders follow their views by "
            "minutes, so a rush of viewers lowers it for a while.",
            (
                Query('avg(job:liveshop_conversion:ratio5m{job="$job"})', "now"),
                Query('avg(avg_over_time(job:liveshop_conversion:ratio5m{job="$job"}[1h]))', "usual", usual=True),
            ),
        ),
        Panel(
            "Orders beside their usual",
            "lines",
            "cpm",
            "Orders a minute over five minutes, and the average of the hour before. None while viewers come is a page.",
            (
                Query('60 * sum(job:liveshop_orders_paid:rate5m{job="$job"})', "now"),
                Query('60 * sum(avg_over_time(job:liveshop_orders_paid:rate5m{job="$job"}[1h]))', "usual", usual=True),
            ),
            alerts=("LiveshopNoOrders",),
        ),
        Panel(
            "GMV of an hour beside yesterday's",
            "lines",
            "currency${currency}",
            "Value of the orders of the hour before each moment, and of the same hour of yesterday.",
            (
                Query(
                    'sum(job_currency:liveshop_gmv_minor:increase1h{job="$job",currency="${currency}"}) / ${minor_units}',
                    "today",
                ),
                Query(
                    'sum(job_currency:liveshop_gmv_minor:increase1h{job="$job",currency="${currency}"} offset 1d)'
                    " / ${minor_units}",
                    "yesterday",
                    NO_YESTERDAY,
                    usual=True,
                ),
            ),
            alerts=("LiveshopGmvLow",),
        ),
        Panel(
            "How far broadcasts differ",
            "lines",
            "percentunit",
            "Conversion of the windows of one minute that were closed in the last ten: a tenth of them are below the "
            "lowest line, half below the middle, a tenth above the highest.",
            tuple(
                Query(
                    f"histogram_quantile({share}, sum by (le) "
                    '(rate(liveshop_conversion_ratio_bucket{job="$job"}[10m])))',
                    name,
                )
                for share, name in ((0.9, "best tenth"), (0.5, "middle"), (0.1, "worst tenth"))
            ),
        ),
        Panel(
            "Viewers at once, and broadcasts",
            "lines",
            "short",
            "Viewers of all broadcasts together by the platforms' own samples, and broadcasts on air.",
            (
                Query('sum(job:liveshop_concurrent_viewers:sum{job="$job"})', "viewers"),
                Query('sum(liveshop_sessions_open{job="$job"})', "broadcasts"),
            ),
        ),
    ),
)

BUSIEST: Final = Row(
    "Which broadcasts?",
    (
        Panel(
            "The busiest",
            "table",
            "short",
            "The 15 broadcasts with the most events in the newest two minutes of event time. Totals are since each "
            "began. A name leads to the dashboard of that session.",
            (
                Query(BUSY, "events in 2 min"),
                Query(_of_busy(_session("concurrent_viewers")), "viewers"),
                Query(_of_busy(_session("views")), "views"),
                Query(_of_busy(_session("orders_paid")), "orders"),
                Query(
                    _of_busy(f"({_session('orders_paid')} / ({_session('views')} > 0))"),
                    "conversion",
                    unit="percentunit",
                ),
                Query(
                    _of_busy(
                        "sum by (session_id) (session_currency:liveshop_session_gmv_minor:sum"
                        '{job="$job",currency="${currency}"}) / ${minor_units}'
                    ),
                    "GMV",
                    unit="currency${currency}",
                ),
                Query(_of_busy(_session("comments_per_minute")), "comments a minute"),
            ),
            columns={"session_id": "Session"},
            link="/d/liveshop-session?${__url_time_range}&var-job=${job}&var-session=$value",
            width=16,
            height=14,
        ),
        Panel(
            "Viewers of the busiest",
            "lines",
            "short",
            "Viewers at once of the five broadcasts that have the most.",
            (
                Query(
                    'topk(5, sum by (session_id) (session:liveshop_session_concurrent_viewers:sum{job="$job"}))',
                    "{{session_id}}",
                ),
            ),
            height=9,
        ),
        Panel(
            "Not listed",
            "stat",
            "short",
            "Sessions held in memory that have no series of their own, ended ones included. They are in all sums "
            "above.",
            (Query('sum(liveshop_sessions_truncated{job="$job"})', "sessions"),),
            height=5,
        ),
    ),
)

SOURCES: Final = Row(
    "Where do viewers come from?",
    (
        Panel(
            "Views by source",
            "share",
            "percentunit",
            "Share of views by where the viewer came from, in the windows closed in the last five minutes.",
            (
                Query(
                    '(sum by (source) (rate(liveshop_source_views_total{job="$job"}[5m])) > 0)'
                    ' / on () group_left () sum(rate(liveshop_source_views_total{job="$job"}[5m]))',
                    "{{source}}",
                ),
            ),
            most=1.0,
        ),
        Panel(
            "Conversion by source",
            "lines",
            "percentunit",
            "Orders by views of each source, over 15 minutes. A rush from ads that does not buy lowers the conversion "
            "of all.",
            (
                Query(
                    'sum by (source) (rate(liveshop_source_orders_total{job="$job"}[15m]))'
                    ' / (sum by (source) (rate(liveshop_source_views_total{job="$job"}[15m])) > 0)',
                    "{{source}}",
                ),
            ),
        ),
        Panel(
            "Events by platform",
            "lines",
            "short",
            "Events of the newest two minutes of event time. A platform that was above the line for an hour and falls "
            "to 0 while others go on is a page: its collector has stopped, or the platform has.",
            (
                Query(
                    'sum by (platform) (job_platform:liveshop_platform_events_recent:sum{job="$job"})', "{{platform}}"
                ),
            ),
            alerts=("LiveshopPlatformSilent",),
            limits=Limits(ticket="platform_events", below=True),
        ),
    ),
)

COMMENTS: Final = Row(
    "What do they say?",
    (
        Panel(
            "Comments",
            "lines",
            "cpm",
            "Comments a minute, all broadcasts together, and the average of the hour before.",
            (
                Query('60 * sum(job:liveshop_comments:rate5m{job="$job"})', "now"),
                Query('60 * sum(avg_over_time(job:liveshop_comments:rate5m{job="$job"}[1h]))', "usual", usual=True),
            ),
        ),
        Panel(
            "Where most is said",
            "lines",
            "cpm",
            "Comments a minute of the five busiest chats. A joke, a giveaway, or complaints: look into the chat.",
            (
                Query(
                    'topk(5, sum by (session_id) (session:liveshop_session_comments_per_minute:sum{job="$job"}))',
                    "{{session_id}}",
                ),
            ),
        ),
        Panel(
            "Comments by views",
            "lines",
            "percentunit",
            "Comments by viewers who came, over five minutes. Views that were bought bring no comments.",
            (
                Query(
                    'sum(job:liveshop_comments:rate5m{job="$job"}) / (sum(job:liveshop_views:rate5m{job="$job"}) > 0)',
                    "comments / views",
                ),
            ),
        ),
    ),
)

FRESH: Final = Row(
    "How fresh is this?",
    (
        Panel(
            "Delay",
            "lines",
            "s",
            "How far the newest record read is behind the wall clock. All figures above are so old.",
            (Query('job_topic:liveshop_lag_seconds:max{job="$job"}', "{{topic}}"),),
            alerts=("LiveshopDelayHigh", "LiveshopDelayCritical"),
            limits=Limits("delay_ticket_seconds", "delay_page_seconds"),
        ),
        Panel(
            "Windows are closed up to",
            "stat",
            "dateTimeAsIso",
            "Results up to this event time are final but for corrections by late events: of the partition that is "
            "furthest behind.",
            (Query('1000 * min(liveshop_watermark_timestamp_seconds{job="$job"})', "event time"),),
        ),
        Panel(
            "Corrections",
            "lines",
            "percentunit",
            "Share of the window records written in five minutes that correct one written before.",
            (
                Query(
                    'sum by (window) (rate(liveshop_windows_total{job="$job",reason="correction"}[5m]))'
                    ' / (sum by (window) (rate(liveshop_windows_total{job="$job"}[5m])) > 0)',
                    "{{window}}",
                ),
            ),
        ),
    ),
)

SHOPPING: Final = Board(
    uid="liveshop-shopping",
    title="Live shopping",
    description="All broadcasts: what is wrong, how it goes in total, which of them, where viewers come from.",
    hours=3,
    variables=(JOB,),
    rows=(WRONG, TOTAL, COURSE, BUSIEST, SOURCES, COMMENTS, FRESH),
)

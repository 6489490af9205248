"""Session: one broadcast, while it is among the busiest and so has series of its own."""

from typing import Final

from deploy.grafana.board import ANY, JOB, SESSION, Board, Limits, Panel, Query, Row


def _so_far(figure: str) -> str:
    return f'sum(session:liveshop_session_{figure}:sum{{job="$job",session_id="$session"}})'


def _a_minute(figure: str, span: str = "5m") -> str:
    """What was added to a running total."""
    minutes = span.removesuffix("m")
    return (
        f'clamp_min(sum(delta(session:liveshop_session_{figure}:sum{{job="$job",session_id="$session"}}[{span}])), 0)'
        f" / {minutes}"
    )


GMV: Final = 'session_currency:liveshop_session_gmv_minor:sum{job="$job",session_id="$session",currency="${currency}"}'
CONVERSION: Final = f"{_a_minute('orders_paid', '15m')} / ({_a_minute('views', '15m')} > 0)"

NOW: Final = Row(
    "How does it go now?",
    (
        Panel(
            "Among the busiest",
            "stat",
            "short",
            "Its place by events of the newest two minutes; 1 is the busiest. Without a place it has no series: its "
            "figures are in live.sessions and live.session-windows.",
            (
                Query(
                    'count(session:liveshop_session_events_recent:sum{job="$job"} >= on (job) group_left ()'
                    ' session:liveshop_session_events_recent:sum{job="$job",session_id="$session"})',
                    "place",
                ),
            ),
            width=4,
            height=5,
        ),
        Panel(
            "Viewers at once",
            "stat",
            "short",
            "What the platform shows: the newest sample, not older than two minutes of event time.",
            (Query(_so_far("concurrent_viewers"), "viewers"),),
            width=4,
            height=5,
        ),
        Panel(
            "Views so far",
            "stat",
            "short",
            "Viewers who entered since it began.",
            (Query(_so_far("views"), "views"),),
            width=4,
            height=5,
        ),
        Panel(
            "Orders so far",
            "stat",
            "short",
            "Paid checkouts, and cash on delivery when it is begun.",
            (Query(_so_far("orders_paid"), "orders"),),
            width=4,
            height=5,
        ),
        Panel(
            "Conversion so far",
            "stat",
            "percentunit",
            "Orders by views since it began.",
            (Query(f"{_so_far('orders_paid')} / ({_so_far('views')} > 0)", "orders / views"),),
            width=4,
            height=5,
            decimals=2,
        ),
        Panel(
            "GMV so far",
            "stat",
            "currency${currency}",
            "Value of its orders. Cancels and refunds do not reduce it.",
            (Query(f"sum({GMV}) / ${{minor_units}}", "GMV"),),
            width=4,
            height=5,
        ),
    ),
)

WATCH: Final = Row(
    "Who watches?",
    (
        Panel(
            "Viewers at once",
            "lines",
            "short",
            "By the platform's own samples.",
            (Query(_so_far("concurrent_viewers"), "viewers"),),
        ),
        Panel(
            "Views",
            "lines",
            "cpm",
            "Viewers who entered a minute, over five minutes.",
            (Query(_a_minute("views"), "views"),),
        ),
        Panel(
            "Of all views",
            "lines",
            "percentunit",
            "Its share of the views of all broadcasts, over five minutes.",
            (Query(f'{_a_minute("views")} / (60 * sum(job:liveshop_views:rate5m{{job="$job"}}) > 0)', "share"),),
        ),
    ),
)

BUY: Final = Row(
    "Who buys?",
    (
        Panel(
            "Orders",
            "lines",
            "cpm",
            "Orders a minute, over five minutes.",
            (Query(_a_minute("orders_paid"), "orders"),),
        ),
        Panel(
            "Conversion beside all others",
            "lines",
            "percentunit",
            "Orders by views of 15 minutes, and of all broadcasts. Both fall: the checkout or a platform. Only its "
            "own falls: the product, its price, its stock.",
            (
                Query(CONVERSION, "this session"),
                Query('avg(avg_over_time(job:liveshop_conversion:ratio5m{job="$job"}[15m]))', "all", usual=True),
            ),
        ),
        Panel(
            "GMV",
            "lines",
            "currency${currency}",
            "Value of its orders, at the pace of the last 15 minutes: so much an hour.",
            (Query(f"4 * clamp_min(sum(delta({GMV}[15m])), 0) / ${{minor_units}}", "an hour"),),
        ),
        Panel(
            "Clicks on products",
            "lines",
            "cpm",
            "A minute, over five minutes. Clicks without orders: look at what is offered, then at the payment.",
            (
                Query(
                    'clamp_min(sum(delta(liveshop_session_product_clicks{job="$job",session_id="$session"}[5m])), 0) / 5',
                    "clicks",
                ),
            ),
        ),
        Panel(
            "Value of an order",
            "lines",
            "currency${currency}",
            "GMV by orders since it began.",
            (Query(f"sum({GMV}) / ${{minor_units}} / ({_so_far('orders_paid')} > 0)", "an order"),),
        ),
        Panel(
            "Payments, all broadcasts",
            "bars",
            "short",
            "Session alerts about payments and conversion that fire now, over all broadcasts. Many at once: it is the "
            "gateway and not this shop. `liveshop alerts history` shows those of this session.",
            (
                Query(
                    'sum by (alert) (liveshop_alerts_firing{job="$job",'
                    'alert=~"checkout_failures|payment_drop|conversion_drop"}) > 0',
                    "{{alert}}",
                    "no such alert fires",
                ),
            ),
            limits=Limits(page=ANY),
        ),
    ),
)

SAY: Final = Row(
    "What is said?",
    (
        Panel(
            "Comments",
            "lines",
            "cpm",
            "Comments a minute over the newest two minutes of event time.",
            (Query(_so_far("comments_per_minute"), "comments"),),
            width=12,
        ),
        Panel(
            "Comments by views",
            "lines",
            "percentunit",
            "Comments by viewers who came, of five minutes. Views that were bought bring no comments.",
            (
                Query(
                    'clamp_min(sum(delta(liveshop_session_comments{job="$job",session_id="$session"}[5m])), 0) / 5'
                    f" / ({_a_minute('views')} > 0)",
                    "comments / views",
                ),
            ),
            width=12,
        ),
    ),
)

SESSION_BOARD: Final = Board(
    uid="liveshop-session",
    title="Session",
    description="One broadcast, while it is among the busiest: who watches, who buys, what is said.",
    hours=1,
    variables=(JOB, SESSION),
    rows=(NOW, WATCH, BUY, SAY),
)

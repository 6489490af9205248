"""What simulated broadcasts are made of: hosts, goods and their prices in rupiah, what viewers say. All invented."""

import hashlib
import json
import math
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

SOURCES: Final = {
    "for_you": 46,
    "following": 16,
    "live_feed": 11,
    "search": 6,
    "share": 4,
    "shop_tab": 5,
    "profile": 3,
    "affiliate_link": 4,
    "push": 2,
    "ads": 2,
    "other": 1,
}
"""Where viewers come from, in per cent."""
PLATFORMS: Final = {"tiktok_shop": 62, "shopee": 24, "tokopedia": 8, "lazada": 5, "blibli": 1}
PAYMENTS: Final = {"gopay": 22, "ovo": 14, "dana": 18, "shopeepay": 12, "qris": 10, "bank_transfer": 18, "card": 6}
FAILURES: Final = ("INSUFFICIENT_BALANCE", "EXPIRED", "BANK_DECLINED", "OTP_WRONG")
OUTAGE_FAILURES: Final = ("PSP_TIMEOUT", "PSP_UNAVAILABLE")

# Actions in the order of their codes, with their share of a broadcast's events in 1/10,000. Checkouts make about 2.4 events
# each (submitted, paid, ...), so 42 begun are the 1 % of the mix; comments are 4 %, views the rest.
ACTIONS: Final = {
    "impression": 3350,
    "heartbeat": 2000,
    "enter": 1300,
    "leave": 1150,
    "product_impression": 950,
    "comment": 400,
    "product_click": 370,
    "like": 180,
    "add_to_cart": 130,
    "checkout": 42,
    "follow": 30,
    "share": 25,
    "gift": 20,
    "pin": 8,
}
CODES: Final = {action: code for code, action in enumerate(ACTIONS)}
TABLE: Final = 4096
LOCAL: Final = 0.6
"""Share of goods made in Indonesia."""
CROSS_BORDER: Final = 0.3
"""Share of goods sent from another country; of the others the shop does not say."""
GIFTS: Final = (1, 1, 1, 5, 5, 10, 30, 99, 299, 1000)
"""What one gift is worth, in the platform's coins."""

_SAID: Final = tuple(
    """
    halo kak|hadir kak|salam dari {kota}|spill nomor {n} dong kak|nomor {n} ready ga kak?|ukuran L masih ada?
    size XL ready?|warna hitam ada kak?|bahannya apa kak?|COD bisa kak?|ongkir ke {kota} berapa?|udah checkout ya kak
    checkout 2 kak|mantap|murah banget|harga live berapa?|voucher nya mana kak|kok gagal bayar ya|gas checkout|wkwkwk
    bismillah dapat|keren kak|kak coba yang nomor {n}|bedanya nomor {n} sama {m} apa?|BPOM ga kak?|ori kan kak?
    garansi ga?|sudah sampai, bagus kak|makasih kak|kapan restock?|stok habis yah|lucu bangettt|cantik kak hostnya
    semangat live nya kak|nyimak|first|kirim hari ini kan kak?|bisa buat kado ga?|kak pin nomor {n}|aku mau nomor {n}
    tinggi 160 muat ga?|bb 60 pakai size apa?|\U0001f525\U0001f525\U0001f525|❤️❤️|\U0001f44d|\U0001f60d\U0001f60d
    """.strip()
    .replace("\n", "|")
    .split("|")
)
_TOWNS: Final = (
    "Jakarta",
    "Bandung",
    "Surabaya",
    "Medan",
    "Makassar",
    "Semarang",
    "Depok",
    "Palembang",
    "Bali",
    "Jogja",
)


def _say(text: str, rng: Random) -> str:
    filled = text.strip().format(kota=rng.choice(_TOWNS), n=rng.randint(1, 20), m=rng.randint(1, 20))
    return json.dumps(filled, ensure_ascii=rng.random() < 0.5)  # noqa: PLR2004 - both spellings of an emoji occur


def comments(rng: Random, number: int = 600) -> list[str]:
    """Comments as JSON strings. Repeats are wanted: half of a busy chat repeats what another said."""
    return [_say(rng.choice(_SAID), rng) for _ in range(number)]


@dataclass(frozen=True, slots=True)
class Product:
    """A good on sale. ``price_minor`` in minor units of IDR: Rp 59.900 is 5990000."""

    product_id: str
    name: str
    number: int
    """In the basket."""
    price_minor: int
    local: bool | None
    """None: the shop does not say."""


@dataclass(frozen=True, slots=True)
class Host:
    """Who broadcasts: for whom, how many come, and how well it goes, as a table of action codes to draw from."""

    seller_id: str
    seller_name: str
    creator_id: str | None
    creator_name: str | None
    platform: str
    audience: float
    table: bytes
    products: tuple[Product, ...]


_SHOPS: Final = ("Toko", "Rumah", "Butik", "Galeri", "Griya", "Pusat")
_SHOP_NAMES: Final = (
    "Melati",
    "Nusantara",
    "Kencana",
    "Sinar Jaya",
    "Anggrek",
    "Bahagia",
    "Cahaya",
    "Pelangi",
    "Sejahtera",
    "Makmur",
)
_PEOPLE: Final = ("Dewi", "Sari", "Rani", "Ayu", "Putri", "Budi", "Rizky", "Fajar", "Dimas", "Citra", "Intan", "Bayu")
_GOODS: Final = (
    "Kaos polos",
    "Hijab segi empat",
    "Gamis",
    "Sepatu",
    "Tas selempang",
    "Serum wajah",
    "Lipstik",
    "Kopi",
    "Madu",
)
_KINDS: Final = ("hitam", "putih", "krem", "merah", "biru", "isi 2", "XL", "mini")
_TITLES: Final = (
    "Obral {goods}",
    "Flash sale {goods}!",
    "{goods} diskon 50%",
    "\U0001f525 Promo {town} \U0001f525",
    "Live bareng {person}",
    "Gajian sale \u2014 {goods} & lainnya",
)
"""One is longer than many a column, two are not of ASCII alone."""


def _seller_name(seller: int) -> str:
    """Names are drawn from dice of their own: traffic is the same with them."""
    dice = Random(f"seller {seller}")  # noqa: S311 - a simulation
    return f"{dice.choice(_SHOPS)} {dice.choice(_SHOP_NAMES)}"


def _product_name(seller: int, number: int) -> str:
    dice = Random(f"product {seller} {number}")  # noqa: S311 - a simulation
    return f"{dice.choice(_GOODS)} {dice.choice(_KINDS)}"


def title(session_id: str, host: Host) -> str:
    """What a broadcast is called."""
    dice = Random(session_id)  # noqa: S311 - a simulation
    goods, town = dice.choice(host.products).name, dice.choice(_TOWNS)
    return dice.choice(_TITLES).format(goods=goods, town=town, person=host.creator_name or host.seller_name)


def _price_minor(rng: Random) -> int:
    rupiah = math.exp(rng.gauss(math.log(65_000), 0.8))
    return (max(5, min(4_000, round(rupiah / 1000))) * 1000 - 100) * 100  # Rp 4.900 to Rp 3.999.900


def _is_local(rng: Random) -> bool | None:
    luck = rng.random()
    return True if luck < LOCAL else False if luck < LOCAL + CROSS_BORDER else None


def _talent(rng: Random) -> bytes:
    """Shares of the actions of one host. Talents differ by a factor of two or so; their mean keeps the mix."""
    pull, sell, chat = (rng.lognormvariate(-0.06, 0.35) for _ in range(3))
    factors = {
        **dict.fromkeys(("enter", "leave", "heartbeat"), pull),
        **dict.fromkeys(("product_click", "add_to_cart", "checkout"), sell),
        **dict.fromkeys(("comment", "like", "share", "follow", "gift"), chat),
    }
    shares = [share * factors.get(action, 1.0) for action, share in ACTIONS.items()]
    ends = [round(end / sum(shares) * TABLE) for end in accumulate(shares)]
    return b"".join(
        bytes([code]) * (end - begin) for code, (begin, end) in enumerate(zip([0, *ends], ends, strict=False))
    )


def hosts(rng: Random, number: int) -> list[Host]:
    """Every third host sells for one of few big sellers, by its creator; a tenth are sellers without a creator."""
    made = []
    for each in range(number):
        seller = rng.randrange(max(1, number // 20)) if rng.random() < 1 / 3 else number + each
        goods = Random(seller)  # noqa: S311 - a simulation; all hosts of a seller have the same goods
        creator = None if rng.random() < 0.1 else f"c{each}"  # noqa: PLR2004
        made.append(
            Host(
                seller_id=f"s{seller}",
                seller_name=_seller_name(seller),
                creator_id=creator,
                creator_name=None if creator is None else f"Kak {Random(creator).choice(_PEOPLE)}",  # noqa: S311 - a simulation
                platform=pick(rng, PLATFORMS),
                audience=rng.lognormvariate(0.0, 0.9),
                table=_talent(rng),
                products=tuple(
                    Product(f"p{seller}-{n}", _product_name(seller, n), n + 1, _price_minor(goods), _is_local(goods))
                    for n in range(12)
                ),
            )
        )
    return made


def pick(rng: Random, weighted: dict[str, int]) -> str:
    """One key, by its weight."""
    return rng.choices(list(weighted), weights=list(weighted.values()))[0]


def viewer_id(number: int, secret: bytes) -> str:
    """A keyed hash, as a platform would hand it out."""
    return hashlib.blake2b(number.to_bytes(8), key=secret, digest_size=8).hexdigest()

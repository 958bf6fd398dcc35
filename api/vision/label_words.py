"""The words by which prompts, English and Vietnamese, call what detectors know. No Django.

By the label of the class: those of the 80 classes of COCO and of starter-detector. A label that is not here goes by itself and its plural.
"""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Words:
    """`en`: beside the label itself, singulars; `plurals`: where no rule makes them. The first of `vi` is the Vietnamese label.

    `is_group`: one detection is several of them, so that they are not counted. `is_adjective`: the label alone says something else.
    """

    en: tuple[str, ...] = ()
    vi: tuple[str, ...] = ()
    plurals: tuple[str, ...] = ()
    is_group: bool = False
    is_adjective: bool = False


WORDS: dict[str, Words] = {
    # the world of the starter
    "sun": Words(vi=("mặt trời",)),
    "moon": Words(vi=("mặt trăng", "trăng tròn")),
    "stars": Words(("stars", "starry sky"), ("các ngôi sao", "những ngôi sao", "bầu trời sao"), is_group=True),
    "birds": Words(("birds", "bird", "flock of birds"), ("đàn chim", "con chim", "chim"), is_group=True),
    "balloon": Words(("hot air balloon",), ("khinh khí cầu",)),
    "rainbow": Words(vi=("cầu vồng",)),
    "boat": Words(("sailing boat", "sailboat", "ship"), ("thuyền", "thuyền buồm", "con thuyền")),
    "pine tree": Words(("pine",), ("cây thông",)),
    "tree": Words(("round tree",), ("cây xanh", "cái cây", "cây")),
    "palm tree": Words(("palm",), ("cây cọ", "cây dừa")),
    "cactus": Words(vi=("xương rồng", "cây xương rồng"), plurals=("cacti", "cactuses")),
    "house": Words(vi=("ngôi nhà", "căn nhà")),
    "circle": Words(vi=("hình tròn",)),
    "square": Words(vi=("hình vuông",)),
    "triangle": Words(vi=("hình tam giác", "tam giác")),
    "star": Words(vi=("ngôi sao", "hình ngôi sao")),
    "fish": Words(vi=("con cá",), plurals=("fish", "fishes")),
    "road closed sign": Words(vi=("biển đường cấm",)),
    "no entry sign": Words(("no entry",), ("biển cấm đi ngược chiều", "cấm đi ngược chiều")),
    "speed limit sign": Words(("speed limit",), ("biển tốc độ tối đa cho phép", "biển giới hạn tốc độ")),
    "no left turn sign": Words(("no left turn",), ("biển cấm rẽ trái", "cấm rẽ trái")),
    "no parking sign": Words(("no parking",), ("biển cấm đỗ xe", "cấm đỗ xe")),
    "give way sign": Words(("yield sign",), ("biển giao nhau với đường ưu tiên", "biển nhường đường")),
    "crossroads sign": Words(vi=("biển đường giao nhau",)),
    "pedestrian crossing sign": Words(vi=("biển đường người đi bộ cắt ngang", "biển người đi bộ")),
    "go straight sign": Words(("straight ahead sign",), ("biển hướng đi thẳng phải theo", "biển đi thẳng")),
    "roundabout sign": Words(vi=("biển vòng xuyến", "biển nơi giao nhau chạy theo vòng xuyến")),
    "one way sign": Words(vi=("biển đường một chiều",)),
    # COCO
    "person": Words(("man", "woman", "child", "boy", "girl"), ("người",), ("people", "persons", "men", "women", "children")),
    "bicycle": Words(("bike",), ("xe đạp",)),
    "car": Words(vi=("ô tô", "xe hơi")),
    "motorcycle": Words(("motorbike",), ("xe máy", "mô tô")),
    "airplane": Words(("aeroplane", "plane"), ("máy bay",)),
    "bus": Words(vi=("xe buýt",)),
    "train": Words(vi=("tàu hỏa", "xe lửa")),
    "truck": Words(("lorry",), ("xe tải",)),
    "traffic light": Words(vi=("đèn giao thông",)),
    "fire hydrant": Words(vi=("trụ cứu hỏa",)),
    "stop sign": Words(vi=("biển dừng lại", "biển báo dừng")),
    "parking meter": Words(vi=("đồng hồ đỗ xe",)),
    "bench": Words(vi=("ghế dài", "băng ghế")),
    "bird": Words(vi=("con chim", "chim")),
    "cat": Words(vi=("con mèo", "mèo")),
    "dog": Words(vi=("con chó", "chó")),
    "horse": Words(vi=("con ngựa", "ngựa")),
    "sheep": Words(vi=("con cừu", "cừu"), plurals=("sheep",)),
    "cow": Words(vi=("con bò", "bò sữa")),
    "elephant": Words(vi=("con voi", "voi")),
    "bear": Words(vi=("con gấu",)),
    "zebra": Words(vi=("ngựa vằn",)),
    "giraffe": Words(vi=("hươu cao cổ",)),
    "backpack": Words(("rucksack",), ("ba lô",)),
    "umbrella": Words(vi=("cái ô", "chiếc ô")),
    "handbag": Words(("purse",), ("túi xách",)),
    "tie": Words(("necktie",), ("cà vạt",)),
    "suitcase": Words(vi=("va li",)),
    "frisbee": Words(vi=("đĩa bay",)),
    "skis": Words(("skis", "pair of skis"), ("ván trượt tuyết đôi",)),
    "snowboard": Words(vi=("ván trượt tuyết",)),
    "sports ball": Words(("ball",), ("quả bóng", "trái bóng")),
    "kite": Words(vi=("con diều", "cánh diều")),
    "baseball bat": Words(vi=("gậy bóng chày",)),
    "baseball glove": Words(vi=("găng tay bóng chày",)),
    "skateboard": Words(vi=("ván trượt",)),
    "surfboard": Words(vi=("ván lướt sóng",)),
    "tennis racket": Words(("tennis racquet",), ("vợt quần vợt", "vợt tennis")),
    "bottle": Words(vi=("cái chai", "chai nước")),
    "wine glass": Words(vi=("ly rượu",)),
    "cup": Words(("mug",), ("cái cốc", "cốc", "tách")),
    "fork": Words(vi=("cái nĩa",)),
    "knife": Words(vi=("con dao",), plurals=("knives",)),
    "spoon": Words(vi=("cái thìa", "cái muỗng")),
    "bowl": Words(vi=("cái bát", "cái tô")),
    "banana": Words(vi=("quả chuối", "trái chuối")),
    "apple": Words(vi=("quả táo", "trái táo")),
    "sandwich": Words(vi=("bánh mì kẹp",)),
    "orange": Words(("orange fruit",), ("quả cam", "trái cam"), ("oranges",), is_adjective=True),
    "broccoli": Words(vi=("bông cải xanh",), plurals=("broccoli",)),
    "carrot": Words(vi=("củ cà rốt", "cà rốt")),
    "hot dog": Words(vi=("bánh mì xúc xích",)),
    "pizza": Words(vi=("bánh pizza", "pizza")),
    "donut": Words(("doughnut",), ("bánh vòng",)),
    "cake": Words(vi=("bánh kem", "bánh ngọt")),
    "chair": Words(vi=("cái ghế", "chiếc ghế")),
    "couch": Words(("sofa",), ("ghế sô pha",)),
    "potted plant": Words(vi=("chậu cây",)),
    "bed": Words(vi=("cái giường", "chiếc giường")),
    "dining table": Words(("table",), ("bàn ăn",)),
    "toilet": Words(vi=("bồn cầu",)),
    "tv": Words(("television",), ("tivi", "ti vi")),
    "laptop": Words(vi=("máy tính xách tay",)),
    "mouse": Words(("computer mouse",), ("chuột máy tính",), ("mice",)),
    "remote": Words(("remote control",), ("điều khiển từ xa",)),
    "keyboard": Words(vi=("bàn phím",)),
    "cell phone": Words(("phone", "mobile phone", "smartphone"), ("điện thoại",)),
    "microwave": Words(vi=("lò vi sóng",)),
    "oven": Words(vi=("lò nướng",)),
    "toaster": Words(vi=("máy nướng bánh mì",)),
    "sink": Words(vi=("bồn rửa",)),
    "refrigerator": Words(("fridge",), ("tủ lạnh",)),
    "book": Words(vi=("quyển sách", "cuốn sách")),
    "clock": Words(vi=("cái đồng hồ", "đồng hồ treo tường")),
    "vase": Words(vi=("lọ hoa", "bình hoa")),
    "scissors": Words(("scissors", "pair of scissors"), ("cái kéo",)),
    "teddy bear": Words(vi=("gấu bông",)),
    "hair drier": Words(("hair dryer",), ("máy sấy tóc",)),
    "toothbrush": Words(vi=("bàn chải đánh răng",)),
}

OTHER_THINGS = (
    "pine forest", "palm beach", "sun ray", "sun rays", "bird's eye view", "apple tree", "apple trees", "fish eye", "sun hat", "tree house",
    "town square", "star sign",
)  # fmt: skip
"""Phrases with a label's word that name something else."""


@cache
def plural_of(word: str) -> str:
    """By the rules of English; of several words the last one."""
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def words_for(label: str) -> tuple[str, ...]:
    """All by which a prompt may call things of this label."""
    words = WORDS.get(label.casefold(), Words())
    if words.is_group:
        return (*words.en, *words.vi)
    singular = words.en if words.is_adjective else (label.casefold(), *words.en)
    return (*singular, *(words.plurals or map(plural_of, singular)), *words.vi)


def is_singular(label: str, phrase: str) -> bool:
    """Whether an English phrase, in small letters, can only be one of them: "house", but neither "houses" nor "sheep"."""
    words = WORDS.get(label.casefold(), Words())
    singular = words.en if words.is_adjective else (label.casefold(), *words.en)
    return not words.is_group and phrase in singular and phrase not in (words.plurals or map(plural_of, singular))


def is_group(label: str) -> bool:
    return WORDS.get(label.casefold(), Words()).is_group


def vietnamese(label: str) -> str:
    """The label in Vietnamese; as it is where that is not known."""
    words = WORDS.get(label.casefold(), Words())
    return words.vi[0] if words.vi else label

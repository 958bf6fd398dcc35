"""What things with boxes are called, in English and Vietnamese.

`words`: how captions name one or several of them, singulars and plurals alike; the first of `vi` is the Vietnamese label.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    name: str
    words: tuple[str, ...]
    vi: tuple[str, ...]


LABELS = (
    Label("sun", ("sun",), ("mặt trời",)),
    Label("moon", ("moon",), ("mặt trăng", "trăng")),
    Label("stars", ("stars", "starry sky"), ("những ngôi sao", "các ngôi sao", "bầu trời sao")),
    Label("birds", ("birds", "bird", "flock of birds"), ("đàn chim", "những con chim", "chim")),
    Label("balloon", ("balloon", "balloons", "hot-air balloon", "hot air balloon"), ("khinh khí cầu",)),
    Label("rainbow", ("rainbow", "rainbows"), ("cầu vồng",)),
    Label("boat", ("boat", "boats", "sailing boat", "sailing boats", "sailboat", "sailboats"), ("thuyền buồm", "thuyền")),
    Label("pine", ("pine tree", "pine trees", "pine", "pines"), ("cây thông",)),
    Label("tree", ("round tree", "round trees", "tree", "trees"), ("cây tròn", "cây xanh")),
    Label("palm", ("palm tree", "palm trees", "palm", "palms"), ("cây cọ", "cây dừa")),
    Label("cactus", ("cactus", "cacti", "cactuses"), ("cây xương rồng", "xương rồng")),
    Label("house", ("house", "houses"), ("ngôi nhà", "căn nhà")),
    Label("circle", ("circle", "circles"), ("hình tròn",)),
    Label("square", ("square", "squares"), ("hình vuông",)),
    Label("triangle", ("triangle", "triangles"), ("hình tam giác", "tam giác")),
    Label("star", ("star", "stars"), ("hình ngôi sao", "hình sao", "ngôi sao")),
    Label("pizza", ("pizza", "pizzas"), ("bánh pizza", "pizza")),
    Label("cake", ("cake", "cakes"), ("bánh kem",)),
    Label("cup", ("cup", "cups"), ("cốc", "tách")),
    Label("apple", ("apple", "apples"), ("quả táo", "trái táo")),
    Label("fish", ("fish", "fishes"), ("con cá",)),
    Label("road_closed", ("road closed sign", "road closed signs"), ("biển đường cấm", "đường cấm")),
    Label("no_entry", ("no entry sign", "no entry signs"), ("biển cấm đi ngược chiều", "cấm đi ngược chiều")),
    Label(
        "speed_limit",
        ("speed limit sign", "speed limit signs", "speed limit"),
        ("biển tốc độ tối đa cho phép", "tốc độ tối đa cho phép"),
    ),
    Label("no_left_turn", ("no left turn sign", "no left turn signs"), ("biển cấm rẽ trái", "cấm rẽ trái")),
    Label("no_parking", ("no parking sign", "no parking signs"), ("biển cấm đỗ xe", "cấm đỗ xe")),
    Label("stop", ("stop sign", "stop signs"), ("biển dừng lại", "dừng lại")),
    Label(
        "give_way",
        ("give way sign", "give way signs", "yield sign", "yield signs"),
        ("biển giao nhau với đường ưu tiên", "giao nhau với đường ưu tiên"),
    ),
    Label("crossroads", ("crossroads sign", "crossroads signs"), ("biển đường giao nhau", "đường giao nhau")),
    Label(
        "pedestrian_crossing",
        ("pedestrian crossing sign", "pedestrian crossing signs"),
        ("biển đường người đi bộ cắt ngang", "đường người đi bộ cắt ngang"),
    ),
    Label(
        "go_straight", ("go straight sign", "go straight signs"), ("biển hướng đi thẳng phải theo", "hướng đi thẳng phải theo")
    ),
    Label("roundabout", ("roundabout sign", "roundabout signs"), ("biển nơi giao nhau chạy theo vòng xuyến", "vòng xuyến")),
    Label(
        "one_way",
        ("one way sign", "one way signs", "one-way sign", "one-way signs"),
        ("biển đường một chiều", "đường một chiều"),
    ),
)
NAMES = tuple(label.name for label in LABELS)

"""Drawn pages and signs whose text is known: what OCR is measured and tested on. Pillow and NumPy alone."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONT = "DejaVuSans.ttf"
PAGE = 1280, 800
LINES_OF_A_PAGE = 32
SIGN = 640, 480
TILT, NOISE = 20.0, 28.0
"""Degrees at most to either side; the standard deviation of the noise, of 255."""

SUBJECTS = {
    "vi": (
        "Người bán hàng", "Cô giáo trẻ", "Những chuyến xe", "Bác thợ mộc", "Đội bóng làng", "Ông lái đò", "Mấy đứa trẻ",
        "Chị kỹ sư", "Khách du lịch", "Anh thuyền trưởng", "Đàn chim én", "Hội đồng xã",
    ),
    "en": (
        "The old captain", "A young teacher", "Every third train", "My neighbour", "The village band", "Our engineer",
        "Five children", "The night shift", "A quiet visitor", "Doctor Quincy", "The swallows", "This committee",
    ),
}  # fmt: skip
VERBS = {
    "vi": (
        "chờ đợi trước", "trở về từ", "đã vẽ lại", "thường ghé qua", "mở cửa", "kể chuyện về", "vội rời khỏi", "sửa chữa",
        "tìm thấy", "không quên được",
    ),
    "en": (
        "waited beside", "came back from", "has painted", "often visits", "opened", "told us about", "left", "repaired",
        "finally found", "cannot forget",
    ),
}  # fmt: skip
PLACES = {
    "vi": (
        "ngôi chợ nổi ở Cần Thơ", "bến xe phía tây", "cây cầu gỗ cũ", "thư viện huyện", "phòng khám số 7", "ruộng bậc thang",
        "nhà ga Đà Nẵng", "khu phố cổ", "xưởng đóng thuyền", "quán phở đầu ngõ", "trường tiểu học", "ngọn hải đăng",
    ),
    "en": (
        "the floating market", "the western bus station", "a wooden bridge", "the district library", "surgery number 7",
        "the terraced fields", "Platform 12", "the old quarter", "a boat yard", "the corner café", "the primary school",
        "the lighthouse",
    ),
}  # fmt: skip
TIMES = {
    "vi": ("lúc 6 giờ sáng", "vào ngày 24/11", "suốt mùa mưa", "trước bữa tối", "năm 1987", "mỗi chủ nhật", "dưới ánh trăng"),
    "en": ("at 6 in the morning", "on 24 November", "all through June", "before supper", "in 1987", "every Sunday", "by moonlight"),
}  # fmt: skip
SIGN_TEXTS = (
    "CẤM ĐỖ XE", "Giảm tốc độ", "Nhà hàng Sông Hương", "Đường Nguyễn Huệ", "Chú ý trẻ em", "Bệnh viện Bạch Mai",
    "Cửa hàng sách cũ", "Lối thoát hiểm", "Phở bò Hà Nội", "Trạm xăng dầu", "Không hút thuốc", "Công trường phía trước",
    "Bãi gửi xe máy", "Nguy hiểm điện giật", "Trường mầm non", "Hẻm 12 Lý Thường Kiệt", "Quầy bán vé", "Chợ Đồng Xuân",
    "ĐI CHẬM", "Cà phê vỉa hè", "Đá lở phía trước", "Ủy ban nhân dân xã", "Bánh mì nóng giòn", "Khu vực cấm vào",
    "Thợ sửa đồng hồ", "Bến phà Mỹ Thuận", "Mở cửa từ 7 giờ", "Hiệu thuốc số 5", "Dừng xe khi có tín hiệu", "Tiệm cắt tóc Út",
)  # fmt: skip
SIGN_COLOURS = (
    ((250, 250, 245), (20, 20, 30)),
    ((20, 80, 160), (255, 255, 255)),
    ((245, 200, 40), (25, 25, 20)),
    ((170, 25, 30), (255, 250, 240)),
    ((20, 110, 70), (250, 255, 250)),
)
"""(plate, letters)"""


@dataclass(frozen=True)
class Drawing:
    image: Image.Image
    lines: list[str]
    """From the top to the bottom."""


def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)


def sentence(language: str, chance: random.Random) -> str:
    parts = (chance.choice(words[language]) for words in (SUBJECTS, VERBS, PLACES, TIMES))
    return " ".join(parts) + chance.choice((".", "!", ";", " (?)", ","))


def draw_page(language: str, seed: int, *, lines: int = LINES_OF_A_PAGE) -> Drawing:
    """A clean page of 1280×800, black on white, in 15 pixels."""
    chance = random.Random(seed)
    texts = [sentence(language, chance) for _ in range(lines)]
    image = Image.new("RGB", PAGE, "white")
    pen = ImageDraw.Draw(image)
    for place, text in enumerate(texts):
        pen.text((40, 16 + place * 24), text, font=font(15), fill="black")
    return Drawing(image, texts)


def draw_sign(seed: int) -> Drawing:
    """A plate with one to three lines of Vietnamese, as a bad photograph shows it: tilted, in perspective, noisy, soft, in JPEG."""
    chance = random.Random(seed)
    texts = chance.sample(SIGN_TEXTS, chance.randint(1, 3))
    plate, letters = chance.choice(SIGN_COLOURS)
    size = chance.randint(18, 34)
    width = max(round(font(size).getlength(text)) for text in texts) + 2 * size
    step = round(size * 1.6)
    sign = Image.new("RGB", (width, step * len(texts) + size), plate)
    pen = ImageDraw.Draw(sign)
    for place, text in enumerate(texts):
        pen.text((width / 2, size / 2 + step * (place + 0.5)), text, font=font(size), fill=letters, anchor="mm")
    return Drawing(photograph(sign, chance), texts)


def photograph(sign: Image.Image, chance: random.Random) -> Image.Image:
    scene = Image.new("RGB", SIGN, tuple(chance.randint(60, 200) for _ in range(3)))
    scale = min(1.0, SIGN[0] * 0.85 / sign.width)
    sign = sign.resize((round(sign.width * scale), round(sign.height * scale)), Image.Resampling.LANCZOS)
    layer = Image.new("RGBA", SIGN)
    layer.paste(sign, ((SIGN[0] - sign.width) // 2, (SIGN[1] - sign.height) // 2))
    layer = layer.rotate(chance.uniform(-TILT, TILT), Image.Resampling.BICUBIC)
    layer = layer.transform(SIGN, Image.Transform.PERSPECTIVE, perspective(chance), Image.Resampling.BICUBIC)
    scene.paste(layer, mask=layer.getchannel("A"))
    soft = scene.filter(ImageFilter.GaussianBlur(chance.uniform(0.5, 1.2)))
    noise = np.random.default_rng(chance.getrandbits(32)).normal(0, NOISE, (SIGN[1], SIGN[0], 3))
    noisy = Image.fromarray((np.asarray(soft, np.float32) + noise).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    noisy.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def perspective(chance: random.Random) -> tuple[float, ...]:
    """The eight numbers of Pillow's transform: a view from a little to the side."""
    tilt_x, tilt_y = chance.uniform(-5e-4, 5e-4), chance.uniform(-5e-4, 5e-4)
    x, y = SIGN[0] / 2, SIGN[1] / 2
    shift = tilt_x * x + tilt_y * y
    return (1 + tilt_x * x, tilt_y * x, -x * shift, tilt_x * y, 1 + tilt_y * y, -y * shift, tilt_x, tilt_y)

"""A local server that speaks PaddleX's basic serving protocol for OCR: JSON with the picture in, lines with their corners out."""

import json
from typing import Any

from tests.scripted_server import Reply, ScriptedServer

JSON = "application/json"
TEXTS = ("Second line", "First line")
POLYGONS = ([[10, 60], [200, 60], [200, 84], [10, 84]], [[10, 20], [190, 20], [190, 44], [10, 44]])


def answer_of(texts: Any = TEXTS, scores: Any = (0.91, 0.99), polygons: Any = POLYGONS) -> dict[str, Any]:
    """As PaddleX 3 gives it; `rec_boxes` and the rest are there and not read."""
    pruned = {
        "model_settings": {"use_doc_preprocessor": False, "use_textline_orientation": False},
        "dt_polys": list(polygons), "rec_texts": list(texts), "rec_scores": list(scores), "rec_polys": list(polygons),
        "rec_boxes": [[10, 60, 200, 84], [10, 20, 190, 44]], "text_rec_score_thresh": 0.0,
    }  # fmt: skip
    page = {"prunedResult": pruned, "ocrImage": None, "docPreprocessingImage": None, "inputImage": None}
    result = {"ocrResults": [page], "dataInfo": {"width": 420, "height": 90, "type": "image"}}
    return {"logId": "3f0f3a32", "errorCode": 0, "errorMsg": "Success", "result": result}


class OcrServer(ScriptedServer):
    """A step of `script` is a status, seconds to wait, or an answer (JSON, or bytes)."""

    def usual(self, body: dict[str, Any]) -> Reply:
        return self.scripted(answer_of())

    def scripted(self, step: Any) -> Reply:
        if isinstance(step, int):
            headers = {"Location": "http://127.0.0.1:9/elsewhere"} if 300 <= step < 400 else {}
            return Reply(json.dumps({"errorCode": step}).encode(), JSON, step, headers)
        return Reply(step if isinstance(step, bytes) else json.dumps(step).encode(), JSON)

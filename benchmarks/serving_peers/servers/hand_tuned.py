"""The fastest handwritten server: Starlette, orjson, arrays and ONNX Runtime."""

import time

import numpy as np
import orjson
from network import SHAPE, Network, answer, problem_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

network = Network()


async def predict(request: Request) -> Response:
    """Answer one window of features."""
    body = await request.body()
    began_s = time.perf_counter()
    try:
        document = orjson.loads(body)
        symbol, features = str(document["symbol"]), np.array(document["features"], dtype=np.float32)
    except (TypeError, ValueError, KeyError) as error:
        return _json({"error": f"expected symbol and a list of numbers: {error!r}"}, 422)
    if problem := problem_of(features):
        return _json({"error": problem}, 422)
    (prediction,) = network(features.reshape(1, *SHAPE))
    return _json(answer(symbol, prediction, began_s), 200)


def _json(content: object, status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


app = Starlette(routes=[Route("/api/ml/predict", predict, methods=["POST"])])

"""The operations themselves, as JSON (frontend/subrequests/convertllb)."""

from services.frontend.core.requests import Asking
from services.frontend.core.to_llb.convert import Conversion, Converted, convert
from shared.llb import convert_json, marshal
from shared.oci import go_json_indent


def answer_convert(conversion: Conversion) -> Asking[dict[str, bytes]]:
    converted: Converted = yield from convert(conversion)
    definition = marshal(converted.stage.state, converted.defaults)
    return {"result.json": go_json_indent(convert_json(definition)), "version": b"0.1.0"}

"""A trained model as plain modules from and to the data's own units: what ONNX can hold and other programs can run."""

import torch
from torch import Tensor, nn

from aelab.data.schema import ArraySchema
from aelab.data.table_schema import TableSchema
from aelab.errors import UserError
from aelab.models.applied import Applied
from aelab.rbm.layer import decode_through, encode_through


class Units(nn.Module):
    """Rows in their own units ↔ the model's inputs: the schema's arithmetic.

    Of a table the rows are its numbers, in the order of the schema, then the one-hot inputs of its categories.
    """

    shift: Tensor
    scale: Tensor
    typical: Tensor | None

    def __init__(self, applied: Applied):
        super().__init__()
        schema = applied.schema
        if not isinstance(schema, ArraySchema | TableSchema):
            raise UserError(
                f"run: inputs of the kind {schema.kind} cannot be exported; those of tables, arrays and images can"
            )
        scaling = schema.scaling
        if scaling.knots is not None:
            raise UserError("run: quantile scaling is no arithmetic that ONNX has; train with data.scale=robust, say")
        self.n = len(schema.numbers) if isinstance(schema, TableSchema) else schema.n_input
        self.last = isinstance(schema, ArraySchema) and schema.last
        self.shape = schema.own_shape if isinstance(schema, ArraySchema) else schema.shape
        self.model_shape, self.n_input = schema.shape, schema.n_input
        self.clip, self.threshold = schema.clip, applied.threshold
        typical = scaling.typical if schema.missing != "refuse" else None
        for name, values in (("shift", scaling.shift), ("scale", scaling.scale), ("typical", typical)):
            self.register_buffer(name, None if values is None else torch.as_tensor(values, dtype=torch.float32))

    def inward(self, rows: Tensor) -> Tensor:
        x = rows.movedim(-1, 1) if self.last else rows
        x = x.reshape(-1, self.n_input)
        numbers, rest = x[:, : self.n], x[:, self.n :]
        if self.typical is not None:
            numbers = torch.where(torch.isnan(numbers), self.typical, numbers)
        numbers = (numbers - self.shift) / self.scale
        if self.clip is not None:
            numbers = numbers.clamp(*self.clip)
        x = torch.cat([numbers, rest], 1) if self.n < self.n_input else numbers
        return (x > 0.5).to(x.dtype) if self.threshold else x

    def outward(self, x: Tensor) -> Tensor:
        numbers = x[:, : self.n] * self.scale + self.shift
        x = torch.cat([numbers, x[:, self.n :]], 1) if self.n < self.n_input else numbers
        x = x.reshape(-1, *self.model_shape)
        return x.movedim(1, -1) if self.last else x


class Encoder(nn.Module):
    """Rows → codes."""

    def __init__(self, applied: Applied):
        super().__init__()
        self.units, self.model = Units(applied), applied.model

    def forward(self, rows: Tensor) -> Tensor:
        return self.model.encode(encode_through(self.model.below, self.units.inward(rows)))


class Decoder(nn.Module):
    """Codes → expected rows."""

    def __init__(self, applied: Applied):
        super().__init__()
        self.units, self.model = Units(applied), applied.model

    def forward(self, codes: Tensor) -> Tensor:
        return self.units.outward(decode_through(self.model.below, self.model.decode(codes)))


class Whole(nn.Module):
    """Rows → the rows as the model reconstructs them."""

    def __init__(self, applied: Applied):
        super().__init__()
        self.encoder, self.decoder = Encoder(applied), Decoder(applied)

    def forward(self, rows: Tensor) -> Tensor:
        return self.decoder(self.encoder(rows))

"""ComfyUI's layers: not initialised, cast to their input at use."""

import torch


class manual_cast:
    class Linear(torch.nn.Linear):
        def reset_parameters(self):
            return None

        def forward(self, x):
            bias = None if self.bias is None else self.bias.to(x)
            return torch.nn.functional.linear(x, self.weight.to(x), bias)

    class Conv2d(torch.nn.Conv2d):
        def reset_parameters(self):
            return None

        def forward(self, x):
            return self._conv_forward(x, self.weight.to(x), None if self.bias is None else self.bias.to(x))

    class ConvTranspose2d(torch.nn.ConvTranspose2d):
        def reset_parameters(self):
            return None

        def forward(self, x, output_size=None):
            bias = None if self.bias is None else self.bias.to(x)
            return torch.nn.functional.conv_transpose2d(x, self.weight.to(x), bias, self.stride, self.padding)

    class LayerNorm(torch.nn.LayerNorm):
        def reset_parameters(self):
            return None

        def forward(self, x):
            weight, bias = (None if p is None else p.to(x) for p in (self.weight, self.bias))
            return torch.nn.functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)

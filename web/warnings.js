// Shows on a node what it has to say of its inputs: "no unknown area", "this looks like a rough mask".
//
// A node sends sentences as `vitmatte_warnings` (nodes/preview.py). They stand in a read-only text under its widgets
// until it runs without them, and for a while as a message in the corner; the log has them as well. Why a node failed
// stands in the same place, for newer frontends hide it behind a button.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { ComfyWidgets } from "../../scripts/widgets.js";

const KEY = "vitmatte_warnings";
const SECONDS = 15;

function remove(node) {
  const at = node.widgets?.findIndex((widget) => widget.name === KEY) ?? -1;
  if (at < 0) return;
  if (node.removeWidget) node.removeWidget(node.widgets[at]);
  else {
    node.widgets[at].onRemove?.();
    node.widgets.splice(at, 1);
  }
}

let told = { text: "", at: 0 }; // the last message in the corner: several nodes may say the same

function tell(title, text) {
  const now = Date.now();
  if (text === told.text && now - told.at < 1000 * SECONDS) return;
  told = { text, at: now };
  app.extensionManager?.toast?.add?.({ severity: "warn", summary: title, detail: text, life: 1000 * SECONDS });
}

function show(node, text) {
  let widget = node.widgets?.find((one) => one.name === KEY);
  if (!text) remove(node);
  else {
    if (!widget) {
      widget = ComfyWidgets.STRING(node, KEY, ["STRING", { multiline: true }], app).widget;
      widget.label = "warning";
      widget.serialize = false; // not saved with the workflow,
      widget.options = { ...widget.options, serialize: false }; // nor sent with the prompt
      if (widget.inputEl) {
        widget.inputEl.readOnly = true;
        widget.inputEl.style.color = "#e8b339";
      }
      const socket = node.inputs?.findIndex((input) => input.widget?.name === KEY) ?? -1;
      if (socket >= 0) node.removeInput(socket);
    }
    widget.value = text;
    node.setSize?.([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
  }
  node.setDirtyCanvas?.(true, true);
}

// While a batch is computed its finished frames are shown one at a time; afterwards they would hide the whole batch.
function endLivePreview(node) {
  for (const id of [String(node.id), node.graph?.id ? `${node.graph.id}:${node.id}` : null]) {
    if (id && app.nodePreviewImages?.[id]) delete app.nodePreviewImages[id];
  }
  node.preview = undefined;
  node.images = undefined;
}

app.registerExtension({
  name: "ViTMatte.warnings",
  setup() {
    api.addEventListener("execution_error", ({ detail }) => {
      if (!detail?.node_type?.startsWith("ViTMatte")) return;
      const node = app.graph.getNodeById(Number(detail.node_id));
      if (node?.type === detail.node_type) show(node, detail.exception_message.trim());
    });
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("ViTMatte")) return;
    const before = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output, ...rest) {
      before?.call(this, output, ...rest);
      if (output?.images?.length) endLivePreview(this);
      const text = (output?.[KEY] ?? []).join("\n");
      show(this, text);
      if (text) tell(this.title, text);
    };
  },
});

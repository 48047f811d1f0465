// What a user does in ComfyUI's web UI, step by step. For frontends from 1.27 on: told apart by what is on the page,
// never by their version.
const SLOW = 180_000 // ms; machines that test are busy
const PACK = 'ComfyUI-ViTMatte'
const BARS = 120 // pixels at the page's top and bottom that its bars may cover

export class Ui {
  constructor (browser, url, { width, height, scale }) {
    Object.assign(this, { browser, url, size: { width, height }, scale, problems: [] })
  }

  // Loads the page afresh in this language; settings are the frontend's. Gives its version.
  async open ({ locale = 'en', settings = {} }) {
    const stored = {
      'Comfy.Locale': locale, 'Comfy.TutorialCompleted': true, 'Comfy.Minimap.Visible': false,
      'Comfy.Graph.CanvasInfo': false, 'Comfy.Workflow.Persist': false,
      // Titles and widgets are drawn at every zoom; the setting's older and newer name.
      'LiteGraph.Canvas.LowQualityRenderingZoomThreshold': 0, 'LiteGraph.Canvas.MinFontSizeForLOD': 0, ...settings
    }
    const answer = await fetch(`${this.url}/settings`, { method: 'POST', body: JSON.stringify(stored) })
    if (!answer.ok) throw new Error(`settings: ${answer.status}`)
    await this.page?.context().close()
    const context = await this.browser.newContext({ viewport: this.size, deviceScaleFactor: this.scale })
    this.page = await context.newPage()
    this.page.setDefaultTimeout(60_000)
    // Nothing outside this machine: refused at once instead of waited for.
    await this.page.route((target) => /^(https?|wss?):$/.test(target.protocol) && target.hostname !== '127.0.0.1',
      (route) => route.abort())
    this.problems = []
    this.page.on('console', (message) => {
      const { url } = message.location()
      if (message.type() === 'error') this.problems.push(`${message.text()} (${url.replace(this.url, '')})`)
    })
    this.page.on('pageerror', (error) => this.problems.push(`page error: ${error.stack ?? error}`))
    await this.page.goto(this.url)
    await this.page.waitForFunction(() => window.app?.canvas && window.app.graph &&
      'ViTMatteMatting' in (window.LiteGraph?.registered_node_types ?? {}), null, { timeout: SLOW })
    await this.page.waitForTimeout(1500)
    await this.closeDialogs()
    await this.page.evaluate(() => {
      for (const name of ['success', 'error', 'interrupted']) {
        window.app.api.addEventListener(`execution_${name}`, (event) => {
          window.vitmatteRun = { status: name, error: event.detail?.exception_message ?? null }
        })
      }
    })
    return await this.page.evaluate(() => window.__COMFYUI_FRONTEND_VERSION__)
  }

  async closeDialogs () {
    for (let i = 0; i < 4 && await this.page.locator('[role=dialog]:visible').count(); i++) {
      await this.page.keyboard.press('Escape')
      await this.page.waitForTimeout(400)
    }
  }

  async fitView () {
    await this.page.evaluate(() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView'))
    await this.page.waitForTimeout(1000) // it glides
  }

  // The pack's templates as their cards show them: { name: width of its picture, 0 without one }.
  async templates () {
    await this.page.getByRole('button', { name: 'Templates', exact: true }).first().click()
    await this.page.getByText(PACK, { exact: true }).last().click()
    await this.page.waitForTimeout(3000)
    const found = {}
    const cards = this.page.locator('[data-testid^=template-workflow-]')
    for (let i = 0; i < await cards.count(); i++) { // pictures out of sight are not kept
      await cards.nth(i).scrollIntoViewIfNeeded()
      const image = cards.nth(i).locator('img').first()
      for (let tries = 0; tries < 20 && !await image.evaluate((it) => it.naturalWidth).catch(() => 0); tries++) {
        await this.page.waitForTimeout(250)
      }
      const name = (await cards.nth(i).getAttribute('data-testid')).slice('template-workflow-'.length)
      if (await cards.nth(i).locator('img').count()) found[name] = await image.evaluate((it) => it.naturalWidth)
    }
    return found
  }

  // The names of the cards that the search of the templates' browser finds.
  async searchTemplates ({ text, path }) {
    await this.page.getByRole('button', { name: 'Templates', exact: true }).first().click()
    await this.page.waitForTimeout(3000)
    await this.page.locator('[role=dialog]:visible input[type=text], [role=dialog]:visible input[placeholder^=Search]')
      .first().fill(text)
    await this.page.waitForTimeout(3000)
    if (path) await this.shot({ path })
    return await this.page.evaluate(() => [...document.querySelectorAll('[data-testid^=template-workflow-]')]
      .map((card) => card.dataset.testid.slice('template-workflow-'.length)))
  }

  // Clicks the card of a template, in the browser of them.
  async openTemplate ({ name }) {
    await this.templates()
    const file = this.page.waitForResponse((response) => decodeURIComponent(response.url()).endsWith(`/${name}.json`))
    await this.page.locator(`[data-testid="template-workflow-${name}"]`).click()
    const answer = await file
    if (!answer.ok()) throw new Error(`${answer.status()} ${answer.url()}`)
    return await this.loaded()
  }

  // The same, and leaves the page as a user then sees it. Gives { zoom, dialogs: texts }.
  async openTemplateRaw ({ name }) {
    await this.templates()
    await this.page.locator(`[data-testid="template-workflow-${name}"]`).click()
    await this.page.waitForTimeout(4000)
    return {
      zoom: await this.page.evaluate(() => window.app.canvas.ds.scale),
      dialogs: await this.page.locator('[role=dialog]:visible').allInnerTexts()
    }
  }

  // Opens a workflow file with the keyboard and the browser's file dialog.
  async openFile ({ path }) {
    const dialog = this.page.waitForEvent('filechooser')
    await this.press('Control+o')
    await (await dialog).setFiles(path)
    return await this.loaded()
  }

  // Types of the graph's nodes, once it is there; an unknown one is a problem.
  async loaded () {
    await this.page.waitForTimeout(2000)
    const dialogs = await this.page.locator('[role=dialog]:visible').allInnerTexts()
    if (dialogs.length) throw new Error(`a dialog is open: ${dialogs.join('; ').slice(0, 500)}`)
    await this.fitView()
    return await this.page.evaluate(() => window.app.graph._nodes.map((node) => node.type))
  }

  // Saves the workflow under a name with the keyboard; the server keeps it in user/default/workflows.
  async save ({ name }) {
    await this.press('Control+s')
    const box = this.page.locator('[role=dialog]:visible input')
    await box.fill(name)
    await box.press('Enter')
    await this.page.locator('[role=dialog]:visible').waitFor({ state: 'detached' })
    await this.page.waitForTimeout(1500)
  }

  // Presses Run and waits. Gives { status, error, refused, shown, missing }: what the server refused, and the types of
  // nodes whose pictures are shown or should be.
  async run ({ seconds = 600 }) {
    await this.page.evaluate(() => { window.vitmatteRun = null })
    await this.page.locator('button[data-testid=queue-button], [data-testid=queue-button] button').first().click()
    await this.page.waitForFunction(
      () => window.vitmatteRun || Object.keys(window.app.lastNodeErrors ?? {}).length > 0, null,
      { timeout: seconds * 1000 })
    await this.fitView()
    const pictures = () => this.page.evaluate(() => {
      const state = { shown: [], missing: [] }
      for (const node of window.app.graph._nodes) {
        const files = window.app.nodeOutputs?.[node.id]?.images ?? []
        if (!files.some((file) => /\.(png|jpe?g|webp)$/i.test(file.filename))) continue // videos are no pictures
        const there = node.imgs?.length && node.imgs.every((image) => image.complete && image.naturalWidth)
        state[there ? 'shown' : 'missing'].push(node.type)
      }
      return state
    })
    let found = await pictures()
    for (let i = 0; i < 20 && found.missing.length; i++) {
      await this.page.waitForTimeout(500)
      found = await pictures()
    }
    return { ...await this.page.evaluate(() => ({ ...window.vitmatteRun, refused: window.app.lastNodeErrors })), ...found }
  }

  // Presses Run and waits; leaves the page as a user then sees it. Gives { status, error, refused, warnings: by type,
  // pictures: how many each type shows }.
  async runRaw () {
    await this.page.evaluate(() => { window.vitmatteRun = null })
    await this.page.locator('button[data-testid=queue-button], [data-testid=queue-button] button').first().click()
    await this.page.waitForFunction(
      () => window.vitmatteRun || Object.keys(window.app.lastNodeErrors ?? {}).length > 0, null, { timeout: SLOW })
    await this.page.waitForTimeout(4000)
    return await this.page.evaluate(() => ({
      ...window.vitmatteRun,
      refused: JSON.stringify(window.app.lastNodeErrors ?? {}),
      warnings: Object.fromEntries(window.app.graph._nodes.map((node) => [node.type,
        node.widgets?.find((widget) => widget.name === 'vitmatte_warnings')?.value]).filter(([, text]) => text)),
      pictures: Object.fromEntries(window.app.graph._nodes.map((node) => [node.type, node.imgs?.length ?? 0]))
    }))
  }

  // A place of the page with nothing but canvas: { x, y }.
  async emptySpot () {
    return await this.page.evaluate(() => {
      const { canvas, graph } = window.app
      for (let y = innerHeight - 150; y > 100; y -= 20) {
        for (let x = 400; x < innerWidth - 400; x += 20) {
          const [left, top] = canvas.convertEventToCanvasOffset({ clientX: x, clientY: y })
          if (document.elementFromPoint(x, y) === canvas.canvas && !graph.getNodeOnPos(left, top) &&
              !graph.getGroupOnPos(left, top)) return { x, y }
        }
      }
    })
  }

  // Presses a key with the canvas in focus.
  async press (key) {
    const { x, y } = await this.emptySpot()
    await this.page.mouse.click(x, y)
    await this.page.keyboard.press(key)
  }

  // The search box: opened by a double click on the empty canvas. Gives the entries found as lines of text, best first.
  async search ({ text, path }) {
    const { x, y } = await this.emptySpot()
    await this.page.mouse.dblclick(x, y)
    // On a busy machine it takes a while, and what is typed before it is there are shortcuts.
    await this.page.locator('[role=search] input:visible, input[role=combobox]:visible').first()
      .waitFor({ timeout: 20_000 }).catch(() => {})
    await this.page.waitForTimeout(1000)
    await this.page.keyboard.type(text, { delay: 30 })
    await this.page.waitForTimeout(2500)
    const entries = await this.page.locator('[role=listbox] [role=option]:visible').allInnerTexts()
    if (path) await this.shot({ path })
    for (let i = 0; i < 3 && await this.page.locator('[role=search]:visible').count(); i++) {
      await this.page.keyboard.press('Escape')
      await this.page.waitForTimeout(500)
    }
    return entries.map((entry) => entry.replaceAll('\u00a0', ' ').trim()).filter(Boolean)
  }

  // Where the first node of a type is on the page, title included: { x, y, width, height }.
  async place ({ type }) {
    return await this.page.evaluate((type) => {
      const { canvas, graph } = window.app
      const node = graph._nodes.find((node) => node.type === type)
      const [left, top, width, height] = node.getBounding()
      const { x, y } = canvas.canvas.getBoundingClientRect()
      const [from, to] = [[left, top], [left + width, top + height]].map((at) => canvas.ds.convertOffsetToCanvas(at))
      return { x: from[0] + x, y: from[1] + y, width: to[0] - from[0], height: to[1] - from[1] }
    }, type)
  }

  // Selects a node by its title and opens its help. Gives { text, pictures: [{ source, width }] }.
  async help ({ type }) {
    const { x, y, width } = await this.place({ type })
    await this.page.mouse.click(x + width / 2, y + 8)
    await this.page.getByTestId('info-button').click()
    const page = this.page.locator('.node-help-content')
    await page.locator('table').first().waitFor()
    await this.page.waitForTimeout(1500)
    return {
      text: await page.innerText(),
      pictures: await page.locator('img').evaluateAll((all) => all.map((image) => ({ source: image.getAttribute('src'), width: image.naturalWidth })))
    }
  }

  // What a node says: { title, inputs, outputs, widgets, tooltip, inputTooltip }; tooltips by resting the mouse on its
  // title and its first input.
  async texts ({ type }) {
    const { x, y } = await this.place({ type })
    const zoom = await this.page.evaluate(() => window.app.canvas.ds.scale)
    const tip = async (left, top) => {
      await this.page.mouse.move(x - 20, y - 20)
      await this.page.waitForTimeout(300)
      await this.page.mouse.move(x + left, y + top, { steps: 4 })
      const shown = this.page.locator('.node-tooltip:visible')
      await shown.waitFor({ timeout: 15_000 })
      return await shown.innerText()
    }
    const tooltip = await tip(80 * zoom, 15 * zoom)
    const inputTooltip = await tip(12 * zoom, 44 * zoom)
    const said = await this.page.evaluate((type) => {
      const node = window.app.graph._nodes.find((node) => node.type === type)
      const name = (part) => part.label ?? part.localized_name ?? part.name
      return { title: node.getTitle(), inputs: node.inputs.map(name), outputs: node.outputs.map(name), widgets: (node.widgets ?? []).map(name) }
    }, type)
    return { ...said, tooltip, inputTooltip }
  }

  // Where a widget of the first node of a type is on the page, or one of its slots ('in' or 'out'): { x, y }.
  async spot ({ type, widget, slot, side = 'in' }) {
    return await this.page.evaluate(([type, widget, slot, side]) => {
      const { canvas, graph } = window.app
      const node = graph._nodes.find((node) => node.type === type)
      const ports = side === 'in' ? node.inputs : node.outputs
      const [left, top] = widget
        ? [node.pos[0] + node.size[0] / 2, node.pos[1] + 10 + node.widgets.find((one) => one.name === widget).last_y]
        : node.getConnectionPos(side === 'in', ports.findIndex((port) => port.name === slot))
      const { x, y } = canvas.canvas.getBoundingClientRect()
      const [right, down] = canvas.ds.convertOffsetToCanvas([left, top])
      return { x: x + right, y: y + down }
    }, [type, widget, slot, side])
  }

  // Chooses a picture in Load Image, paints over polygons of it in the mask editor as one does by hand (along the edge,
  // then to and fro), and saves. Points are shares of the picture's width and height.
  async paintMask ({ path, polygons, thickness = 25 }) {
    let chooser = null
    for (let i = 0; i < 5 && !chooser; i++) { // the graph may still glide
      await this.page.waitForTimeout(1500)
      const { x, y } = await this.spot({ type: 'LoadImage', widget: 'upload' })
      const dialog = this.page.waitForEvent('filechooser', { timeout: 5000 }).catch(() => null)
      await this.page.mouse.click(x, y)
      chooser = await dialog
    }
    await chooser.setFiles(path)
    await this.page.waitForTimeout(3000)
    const { x, y, width, height } = await this.place({ type: 'LoadImage' })
    await this.page.mouse.click(x + width / 2, y + height * 0.7, { button: 'right' })
    await this.page.locator('.litemenu-entry:visible', { hasText: 'Open in MaskEditor' }).first().click()
    await this.page.waitForTimeout(4000)
    await this.page.locator('input[type=number]:visible, input[type=range]:visible').first().evaluate((input, value) => {
      input.value = value
      for (const name of ['input', 'change']) input.dispatchEvent(new Event(name, { bubbles: true }))
    }, thickness)
    const sheet = await this.page.evaluate(() => [...document.querySelectorAll('canvas')]
      .filter((canvas) => canvas.id !== 'graph-canvas').map((canvas) => canvas.getBoundingClientRect().toJSON())
      .filter((box) => box.width > 100).at(-1))
    const stroke = async (points) => {
      const at = points.map(([u, v]) => [sheet.x + u * sheet.width, sheet.y + v * sheet.height])
      await this.page.mouse.move(...at[0])
      await this.page.mouse.down()
      for (const point of at.slice(1)) await this.page.mouse.move(...point, { steps: 6 })
      await this.page.mouse.up()
    }
    for (const points of polygons) {
      await stroke([...points, points[0]])
      const heights = points.map((point) => point[1])
      for (let v = Math.min(...heights) + 0.01; v < Math.max(...heights); v += thickness / sheet.height) {
        const across = points.flatMap(([u, w], i) => {
          const [right, low] = points[(i + 1) % points.length]
          return (w <= v) !== (low <= v) ? [u + (v - w) / (low - w) * (right - u)] : []
        }).sort((a, b) => a - b)
        for (let i = 0; i + 1 < across.length; i += 2) await stroke([[across[i], v], [across[i + 1], v]])
      }
    }
    await this.page.locator('button:visible').filter({ hasText: /^\s*Save\s*$/ }).first().click()
    await this.page.waitForTimeout(6000)
  }

  // Draws a wire with the mouse, from an output to an input: both { type, slot }.
  async wire ({ from, to }) {
    const [start, end] = [await this.spot({ ...from, side: 'out' }), await this.spot(to)]
    await this.page.mouse.move(start.x, start.y)
    await this.page.mouse.down()
    await this.page.mouse.move(end.x - 30, end.y + 10, { steps: 6 })
    await this.page.mouse.move(end.x, end.y, { steps: 6 })
    await this.page.mouse.up()
    await this.page.waitForTimeout(600)
  }

  // Deletes the first node of a type with the keyboard.
  async remove ({ type }) {
    const { x, y, width } = await this.place({ type })
    await this.page.mouse.click(x + width / 2, y + 10)
    await this.page.waitForTimeout(500)
    await this.page.keyboard.press('Delete')
    await this.page.waitForTimeout(500)
  }

  // The pictures of the last run, by the place of their nodes: [{ type, images: [{ filename, subfolder, type }] }].
  async results () {
    return await this.page.evaluate(() => [...window.app.graph._nodes].sort((a, b) => a.id - b.id)
      .map((node) => ({ type: node.type, images: window.app.nodeOutputs?.[node.id]?.images ?? [] }))
      .filter((node) => node.images.length))
  }

  // Shows the first node of a type, or without one the whole graph, so large in the middle of the page that it is
  // `width` pixels wide; gives its place. The page grows where it is too low, since its bars would hide the top.
  async show ({ type, width }) {
    const [left, top, right, bottom] = await this.page.evaluate((type) => {
      const { canvas, graph } = window.app
      canvas.deselectAll()
      const boxes = graph._nodes.filter((node) => !type || node.type === type).slice(0, type ? 1 : undefined)
        .map((node) => node.getBounding())
      return [Math.min(...boxes.map((box) => box[0])), Math.min(...boxes.map((box) => box[1])),
        Math.max(...boxes.map((box) => box[0] + box[2])), Math.max(...boxes.map((box) => box[1] + box[3]))]
    }, type)
    const scale = width / (right - left), height = (bottom - top) * scale
    if (height + 2 * BARS > this.page.viewportSize().height) { // until the page is opened afresh
      await this.page.setViewportSize({ ...this.size, height: Math.ceil(height) + 2 * BARS })
      await this.page.waitForTimeout(1500)
    }
    const place = await this.page.evaluate(([left, top, scale, width, height]) => {
      const { canvas } = window.app
      const { x, y } = canvas.canvas.getBoundingClientRect()
      const place = { x: (innerWidth - width) / 2, y: (innerHeight - height) / 2, width, height }
      canvas.ds.scale = scale
      canvas.ds.offset[0] = (place.x - x) / scale - left
      canvas.ds.offset[1] = (place.y - y) / scale - top
      canvas.setDirty(true, true)
      return place
    }, [left, top, scale, width, height])
    await this.page.mouse.move(2, this.size.height / 2) // nothing is hovered over
    await this.page.waitForTimeout(1500)
    return place
  }

  // Errors on the page's console since it was opened.
  async errors () { return this.problems }

  async shot ({ path, clip }) {
    await this.page.screenshot({ path, clip })
  }
}

// Drives ComfyUI's web UI in a headless browser. Started by tests/support/webui.py: takes one JSON object per line, {step, ...},
// calls that function of steps.mjs and answers with one line, {value} or {error}. Ends when its input does.
import { createRequire } from 'node:module'
import path from 'node:path'
import readline from 'node:readline'
import { Ui } from './steps.mjs'

const [host, url, width, height, scale] = process.argv.slice(2)
const { chromium } = createRequire(path.join(host, 'ui', 'package.json'))('playwright-core')
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
})
const ui = new Ui(browser, url, { width: Number(width), height: Number(height), scale: Number(scale) })

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { step, ...options } = JSON.parse(line)
  let answer
  try {
    answer = { value: await ui[step](options) ?? null }
  } catch (error) {
    answer = { error: String(error?.stack ?? error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
await browser.close()

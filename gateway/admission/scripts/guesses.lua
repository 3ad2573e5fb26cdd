-- ---- G: one look-up of a key that may be a guess, counted for all workers (keys/guesses.py) ----------------------------------------
-- {'G', site, burst, per_minute, everyone_factor, change (1 = a look-up, −1 = it was no guess)} → {'ok'} · {'no', wait_ms}
-- {sN}:g:<site> what is left of an address's allowance, and when that was, Unix ms; {sN}:g:* of all addresses' together. Whoever is refused
-- writes nothing, so that the common allowance bounds how many addresses are remembered: each for LATELY_MS, or until it is full again.
local LATELY_MS, EVERYONE = 60000, '*'

local function allowance(site, burst, per_ms)
  local text = call('GET', TAG .. ':g:' .. site)
  if not text then return burst, 0 end
  local left, at = struct_unpack('<dd', text)
  return min(burst, left + max(0, NOW - at) * per_ms), at
end

local function keep_allowance(site, left, burst, per_ms)
  local full_in_ms = ceil((burst - left) / per_ms)
  call('SET', TAG .. ':g:' .. site, struct_pack('<dd', left, NOW), 'PX', max(LATELY_MS, full_in_ms + 1))
end

local function guess(op)
  local site, burst, per_minute, factor, change = unpack(op, 2, 6)
  local per_ms = per_minute / 60000
  local left, at = allowance(site, burst, per_ms)
  local everyone = allowance(EVERYONE, burst * factor, per_ms * factor)
  if change > 0 then
    if left < 1 then return {'no', ceil((1 - left) / per_ms)} end
    if everyone < 1 and NOW - at < LATELY_MS then return {'no', ceil((1 - everyone) / (per_ms * factor))} end
  end
  left = min(burst, left - change)
  if left >= burst then
    call('DEL', TAG .. ':g:' .. site)
  else
    keep_allowance(site, left, burst, per_ms)
  end
  keep_allowance(EVERYONE, min(burst * factor, max(0, everyone - change)), burst * factor, per_ms * factor)
  return {'ok'}
end


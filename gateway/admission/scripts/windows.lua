-- ---- sliding windows of one minute: exact to a bucket of 100 ms, and never too generous ----------------------------------------
-- A window is one string: the sums of what is in it, which entry is its oldest, and an entry {bucket, requests, tokens} for every
-- bucket in which something came, oldest first. Entries that have left stay in front until they are more than those that have not;
-- so a call writes the head and one entry in place, and the whole string seldom.
local WINDOW_BUCKETS, WINDOW_EXPIRY_MS = 600, 62000
local HEAD, HEAD_BYTES = '<ddI4', 20
local ENTRY, ENTRY_BYTES = '<I5I4I6', 15
local DEAD_MIN = 64
local REQUESTS, TOKENS = 1, 2  -- places in a window of the two sums; in an entry they come one later

local function offset_of(at) return HEAD_BYTES + (at - 1) * ENTRY_BYTES end

local function entry_of(window, at)
  local entry = window.known[at]
  if not entry then
    entry = {struct_unpack(ENTRY, window.text, offset_of(at) + 1)}
    window.known[at] = entry
  end
  return entry
end

local function window_of(scope)
  local window = windows[scope]
  if window then return window end
  window = {0, 0, key = TAG .. ':w:' .. scope, first = 1, count = 0, stored = 0, known = {}, changed = {}, dirty = false}
  windows[scope] = window
  local text = call('GET', window.key)
  if not text then return window end
  window.text = text
  window[REQUESTS], window[TOKENS], window.first = struct_unpack(HEAD, text)
  window.count = (#text - HEAD_BYTES) / ENTRY_BYTES
  window.stored = window.count
  local oldest = BUCKET - WINDOW_BUCKETS
  while window.first <= window.count do
    local bucket, requests, tokens = struct_unpack(ENTRY, text, offset_of(window.first) + 1)
    if bucket >= oldest then break end
    window[REQUESTS], window[TOKENS] = window[REQUESTS] - requests, window[TOKENS] - tokens
    window.first = window.first + 1
  end
  return window
end

local function change_entry(window, at, entry, requests, tokens)
  entry[2], entry[3] = entry[2] + requests, entry[3] + tokens
  window[REQUESTS], window[TOKENS] = window[REQUESTS] + requests, window[TOKENS] + tokens
  window.known[at], window.changed[at], window.dirty = entry, entry, true
end

local function window_add(window, requests, tokens)
  local newest = window.count
  local entry = newest >= window.first and entry_of(window, newest) or nil
  if not entry or entry[1] < BUCKET then
    newest, entry = newest + 1, {BUCKET, 0, 0}
    window.count = newest
  end
  change_entry(window, newest, entry, requests, tokens)
end

-- A correction belongs to the bucket of the admission, so that both leave the window together. Where that bucket has left already,
-- what was used beyond the estimate counts from now on: a call longer than a minute is not free.
local function window_correct(window, bucket, change)
  if change == 0 then return end
  local low, high = window.first, window.count
  while low <= high do
    local middle = floor((low + high) / 2)
    local entry = entry_of(window, middle)
    if entry[1] == bucket then
      change_entry(window, middle, entry, 0, max(change, 0 - entry[3]))
      return
    elseif entry[1] < bucket then
      low = middle + 1
    else
      high = middle - 1
    end
  end
  if change > 0 then window_add(window, 0, change) end
end

local function bucket_leaves_in(bucket) return (bucket + WINDOW_BUCKETS + 1) * BUCKET_MS - NOW end

-- How long until `needed` more fit under `limit`.
local function window_wait(window, kind, needed, limit)
  local excess = window[kind] + needed - limit
  for at = window.first, window.count do
    local entry = entry_of(window, at)
    excess = excess - entry[kind + 1]
    if excess <= 0 then return bucket_leaves_in(entry[1]) end
  end
  return bucket_leaves_in(BUCKET)
end

local function window_reset(window)
  if window.count < window.first then return 0 end
  return bucket_leaves_in(entry_of(window, window.count)[1])
end

local function to_text_entry(entry) return struct_pack(ENTRY, entry[1], entry[2], entry[3]) end

local function keep_window(window)
  if not window.dirty then return end
  local head = struct_pack(HEAD, window[REQUESTS], window[TOKENS], window.first)
  local dead = window.first - 1
  if window.stored > 0 and (dead < DEAD_MIN or dead * 2 < window.count) then
    call('SETRANGE', window.key, 0, head)
    for at, entry in pairs(window.changed) do
      call('SETRANGE', window.key, offset_of(at), to_text_entry(entry))
    end
    if window.count > window.stored then call('PEXPIRE', window.key, WINDOW_EXPIRY_MS) end
    return
  end
  local pieces = {struct_pack(HEAD, window[REQUESTS], window[TOKENS], 1)}
  for at = window.first, window.count do pieces[#pieces + 1] = to_text_entry(entry_of(window, at)) end
  call('SET', window.key, table.concat(pieces), 'PX', WINDOW_EXPIRY_MS)
end

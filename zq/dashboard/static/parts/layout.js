// A small layered layout: who comes before whom decides the layer, the places of the neighbours the order in it.

const SWEEPS = 6;

/**
 * @param nodes [{id, ...}]
 * @param edges [{from, to, ...}]; one that closes a circle is drawn, and decides nothing
 * @param box {width, height, gapAlong, gapAcross} of a node, and between two of them
 * @returns {nodes: Map id -> {x, y, layer}, width, height}
 */
export function layered(nodes, edges, box, isVertical = false) {
  const known = new Set(nodes.map(({ id }) => id));
  const links = edges.filter(({ from, to }) => from !== to && known.has(from) && known.has(to));
  const layers = intoLayers(nodes.map(({ id }) => id), forwards(nodes, links));
  order(layers, links);
  const places = new Map();
  const across = isVertical ? box.width : box.height;
  const along = isVertical ? box.height : box.width;
  const most = Math.max(1, ...layers.map((layer) => layer.length));
  const breadth = most * across + (most - 1) * box.gapAcross;
  layers.forEach((layer, depth) => {
    const taken = layer.length * across + (layer.length - 1) * box.gapAcross;
    layer.forEach((id, i) => {
      const a = depth * (along + box.gapAlong);
      const b = (breadth - taken) / 2 + i * (across + box.gapAcross);
      places.set(id, { x: isVertical ? b : a, y: isVertical ? a : b, layer: depth });
    });
  });
  const length = Math.max(1, layers.length) * (along + box.gapAlong) - box.gapAlong;
  return { places, width: isVertical ? breadth : length, height: isVertical ? length : breadth };
}

/** Links without those that close a circle, found by walking from the nodes that nothing leads to. */
function forwards(nodes, links) {
  const out = new Map(nodes.map(({ id }) => [id, []]));
  const hasBefore = new Set();
  for (const one of links) {
    out.get(one.from).push(one);
    hasBefore.add(one.to);
  }
  const state = new Map(); // 1: on the way, 2: done
  const kept = [];
  const roots = [...nodes].sort((a, b) => hasBefore.has(a.id) - hasBefore.has(b.id));
  for (const { id } of roots) {
    if (state.has(id)) continue;
    const path = [[id, 0]];
    state.set(id, 1);
    while (path.length) {
      const top = path.at(-1);
      const one = out.get(top[0])[top[1]];
      top[1] += 1;
      if (!one) {
        state.set(top[0], 2);
        path.pop();
      } else if (state.get(one.to) !== 1) {
        kept.push(one);
        if (!state.has(one.to)) {
          state.set(one.to, 1);
          path.push([one.to, 0]);
        }
      }
    }
  }
  return kept;
}

/** Each node one layer behind the last of those before it. */
function intoLayers(ids, links) {
  const left = new Map(ids.map((id) => [id, 0]));
  const out = new Map(ids.map((id) => [id, []]));
  for (const { from, to } of links) {
    left.set(to, left.get(to) + 1);
    out.get(from).push(to);
  }
  const depth = new Map(ids.map((id) => [id, 0]));
  const ready = ids.filter((id) => left.get(id) === 0);
  for (const id of ready) {
    for (const to of out.get(id)) {
      depth.set(to, Math.max(depth.get(to), depth.get(id) + 1));
      left.set(to, left.get(to) - 1);
      if (left.get(to) === 0) ready.push(to);
    }
  }
  const layers = [];
  for (const id of ids) (layers[depth.get(id)] ??= []).push(id);
  return layers;
}

/** Puts each node near the middle of its neighbours, there and back a few times. */
function order(layers, links) {
  const before = neighbours(links, "to", "from");
  const after = neighbours(links, "from", "to");
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const isDown = sweep % 2 === 0;
    const place = new Map(layers.flatMap((layer) => layer.map((id, i) => [id, (i + 0.5) / layer.length])));
    for (const layer of layers) {
      const wish = new Map(layer.map((id) => [id, middle((isDown ? before : after).get(id), place) ?? place.get(id)]));
      layer.sort((a, b) => wish.get(a) - wish.get(b));
      layer.forEach((id, i) => place.set(id, (i + 0.5) / layer.length));
    }
  }
}

function neighbours(links, of, other) {
  const found = new Map();
  for (const one of links) found.set(one[of], [...(found.get(one[of]) ?? []), one[other]]);
  return found;
}

const middle = (ids, place) => (ids ? ids.reduce((sum, id) => sum + place.get(id), 0) / ids.length : null);

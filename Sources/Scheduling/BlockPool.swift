/// One KV block: `blockTokens` consecutive positions of all layers' keys and values.
package struct BlockID: Hashable, Sendable {
    package let index: Int32
    package init(_ index: Int32) { self.index = index }
}

/// Who holds which KV block, and what the blocks nobody holds still contain.
///
/// A block is *used* (held by one or more sequences), *cached* (held by none, but its content is
/// known and may be used again) or *free*. Cached and free blocks form one list: free ones in
/// front, then cached ones from least to most recently released; allocation takes the front.
///
/// Content is known by number: `ContentID` stands for one exact history of tokens of one tenant,
/// given out when a block of that history is first registered. A block is found by its parent's
/// number and its own tokens, which are compared, so a hash collision is a miss and never a wrong
/// block. (A chained hash without the comparison would only make that unlikely.)
package struct BlockPool {
    package typealias ContentID = UInt64
    private static let noContent: ContentID = 0
    private static let none: Int32 = -1

    private struct Key: Hashable {
        var parent: ContentID
        var tokensHash: Int
    }

    private struct Block {
        var references: Int32 = 0
        var content: ContentID = BlockPool.noContent
        var key = Key(parent: BlockPool.noContent, tokensHash: 0)
        var previous: Int32 = BlockPool.none
        var next: Int32 = BlockPool.none
        var isListed = false
        /// Its values may be damaged: zeroed before anybody else gets it.
        var isTainted = false
        /// Has been given out since its memory was last given back.
        var isTouched = false
    }

    package let blockTokens: Int
    private var blocks: [Block]
    /// `[blocks × blockTokens]`: the tokens of registered blocks.
    private var tokens: [Int32]
    private var found: [Key: Int32] = [:]
    /// The number each tenant's histories start from. Tenants are the operator's keys: few.
    private var roots: [String: ContentID] = [:]
    private var lastContent: ContentID = noContent
    private var first: Int32 = none
    private var last: Int32 = none
    /// Blocks that nobody holds and that are to be zeroed.
    private var tainted: [BlockID] = []
    package private(set) var usedCount = 0
    package private(set) var cachedCount = 0

    package var count: Int { blocks.count }
    package var freeCount: Int { blocks.count - usedCount - cachedCount }
    /// Blocks that ``allocate()`` can give.
    package var availableCount: Int { blocks.count - usedCount }

    package init(blocks count: Int, blockTokens: Int) {
        precondition(count > 0 && count <= Int(Int32.max) && blockTokens > 0)
        self.blockTokens = blockTokens
        blocks = Array(repeating: Block(), count: count)
        tokens = Array(repeating: 0, count: count * blockTokens)
        for index in blocks.indices { append(Int32(index)) }
    }

    /// A block for one holder, its content forgotten; nil when all blocks are used.
    package mutating func allocate() -> BlockID? {
        guard first != Self.none else { return nil }
        let index = first
        unlink(index)
        if blocks[Int(index)].content != Self.noContent {
            cachedCount -= 1
            erase(index)
        }
        blocks[Int(index)].references = 1
        blocks[Int(index)].isTouched = true
        usedCount += 1
        return BlockID(index)
    }

    package mutating func retain(_ block: BlockID) {
        let index = Int(block.index)
        if blocks[index].references == 0 {
            precondition(blocks[index].content != Self.noContent, "a free block has no holder")
            unlink(block.index)
            cachedCount -= 1
            usedCount += 1
        }
        blocks[index].references += 1
    }

    package mutating func release(_ block: BlockID) {
        let index = Int(block.index)
        precondition(blocks[index].references > 0, "a block is released once per holder")
        blocks[index].references -= 1
        guard blocks[index].references == 0 else { return }
        usedCount -= 1
        if blocks[index].content != Self.noContent {
            cachedCount += 1
            append(block.index)
        } else {
            prepend(block.index)
            if blocks[index].isTainted { wash(block) }
        }
    }

    private mutating func wash(_ block: BlockID) {
        blocks[Int(block.index)].isTainted = false
        tainted.append(block)
    }

    /// Blocks to be zeroed before the next step: their values may be damaged, and whoever held them
    /// is gone. Each is told once.
    package mutating func takeTainted() -> [BlockID] {
        guard !tainted.isEmpty else { return [] }
        defer { tainted.removeAll() }
        return tainted
    }

    package func isUsed(_ block: BlockID) -> Bool { blocks[Int(block.index)].references > 0 }

    package mutating func root(of tenant: String) -> ContentID {
        if let root = roots[tenant] { return root }
        lastContent += 1
        roots[tenant] = lastContent
        return lastContent
    }

    /// The block that holds `history[start ..< start + blockTokens]` after the history `parent`.
    package func find(
        parent: ContentID, history: [Int32], start: Int
    ) -> (block: BlockID, content: ContentID)? {
        guard let index = found[key(parent, history, start)], holds(index, history, start) else {
            return nil
        }
        return (BlockID(index), blocks[Int(index)].content)
    }

    /// Makes a full, computed block known by its content.
    /// - Returns: the history's number, and the block that already had this content, if another.
    package mutating func register(
        _ block: BlockID, parent: ContentID, history: [Int32], start: Int
    ) -> (content: ContentID, twin: BlockID?) {
        let index = Int(block.index)
        if blocks[index].content != Self.noContent { return (blocks[index].content, nil) }
        if blocks[index].isTainted {
            lastContent += 1
            return (lastContent, nil)
        }
        let key = key(parent, history, start)
        lastContent += 1
        if let other = found[key] {
            if holds(other, history, start) {
                lastContent -= 1
                return (blocks[Int(other)].content, BlockID(other))
            }
            // A hash collision: the older block stays known, this one stays private.
            return (lastContent, nil)
        }
        for offset in 0..<blockTokens {
            tokens[index * blockTokens + offset] = history[start + offset]
        }
        blocks[index].content = lastContent
        blocks[index].key = key
        found[key] = block.index
        return (lastContent, nil)
    }

    /// Makes sure that nobody finds this block again, because its values may be damaged, and that
    /// it is zeroed once its last holder lets go of it.
    package mutating func forget(_ block: BlockID) {
        blocks[Int(block.index)].isTainted = true
        drop(block.index)
        if !isUsed(block) { wash(block) }
    }

    /// Nobody finds the content of this block any more.
    private mutating func drop(_ index: Int32) {
        guard blocks[Int(index)].content != Self.noContent else { return }
        if blocks[Int(index)].references == 0 {
            unlink(index)
            cachedCount -= 1
            erase(index)
            prepend(index)
        } else {
            erase(index)
        }
    }

    /// Gives up cached blocks beyond `cachedMax`, the longest unused first.
    /// - Returns: the blocks nobody needs the memory of: free ones that have been used since the
    ///   last call.
    package mutating func shed(cachedMax: Int) -> [BlockID] {
        // Cached blocks stand at the end of the list, the longest unused first.
        var index = first
        while cachedCount > max(cachedMax, 0), index != Self.none {
            let next = blocks[Int(index)].next
            if blocks[Int(index)].content != Self.noContent { drop(index) }
            index = next
        }
        var shed: [BlockID] = []
        for index in blocks.indices
        where blocks[index].isTouched && blocks[index].isListed
            && blocks[index].content == Self.noContent
        {
            blocks[index].isTouched = false
            shed.append(BlockID(Int32(index)))
        }
        return shed
    }

    // MARK: Content

    private func key(_ parent: ContentID, _ history: [Int32], _ start: Int) -> Key {
        var hasher = Hasher()
        for offset in 0..<blockTokens { hasher.combine(history[start + offset]) }
        return Key(parent: parent, tokensHash: hasher.finalize())
    }

    private func holds(_ index: Int32, _ history: [Int32], _ start: Int) -> Bool {
        let base = Int(index) * blockTokens
        for offset in 0..<blockTokens where tokens[base + offset] != history[start + offset] {
            return false
        }
        return true
    }

    private mutating func erase(_ index: Int32) {
        found[blocks[Int(index)].key] = nil
        blocks[Int(index)].content = Self.noContent
    }

    // MARK: List

    private mutating func append(_ index: Int32) {
        blocks[Int(index)].previous = last
        blocks[Int(index)].next = Self.none
        blocks[Int(index)].isListed = true
        if last == Self.none { first = index } else { blocks[Int(last)].next = index }
        last = index
    }

    private mutating func prepend(_ index: Int32) {
        blocks[Int(index)].previous = Self.none
        blocks[Int(index)].next = first
        blocks[Int(index)].isListed = true
        if first == Self.none { last = index } else { blocks[Int(first)].previous = index }
        first = index
    }

    private mutating func unlink(_ index: Int32) {
        let (previous, next) = (blocks[Int(index)].previous, blocks[Int(index)].next)
        if previous == Self.none { first = next } else { blocks[Int(previous)].next = next }
        if next == Self.none { last = previous } else { blocks[Int(next)].previous = previous }
        blocks[Int(index)].isListed = false
    }

    // MARK: Checks

    /// Compares all accounts with each other and with `holders`, the references that exist.
    /// - Returns: the first thing that is wrong; nil when all is well.
    package func firstFault(holders: [BlockID: Int]) -> String? {
        var used = 0
        var cached = 0
        var listed = 0
        for (index, block) in blocks.enumerated() {
            let held = holders[BlockID(Int32(index))] ?? 0
            if Int(block.references) != held {
                return "block \(index) counts \(block.references) holders, but has \(held)"
            }
            if block.isListed != (held == 0) { return "block \(index) is both used and listed" }
            if held > 0 { used += 1 } else { listed += 1 }
            if held == 0, block.content != Self.noContent { cached += 1 }
            if block.content != Self.noContent, found[block.key] != Int32(index) {
                return "block \(index) is registered, but not found"
            }
        }
        if used != usedCount { return "\(used) blocks are used, \(usedCount) are counted" }
        if cached != cachedCount { return "\(cached) blocks are cached, \(cachedCount) counted" }
        var seen = 0
        var index = first
        while index != Self.none, seen <= blocks.count {
            seen += 1
            index = blocks[Int(index)].next
        }
        if seen != listed { return "the list has \(seen) blocks of \(listed)" }
        let registered = blocks.count { $0.content != Self.noContent }
        if registered != found.count { return "\(found.count) keys for \(registered) blocks" }
        return nil
    }
}

// Python's pickle format, read as data: a tree of plain values. Nothing is ever imported, called or built; what a
// pickle wants called stays in the tree as a name with its arguments, and only names that PyTorch's own files need are
// let in.
//
//   const PickleTree tree = ParsePickle(bytes, path.string());
//   for (uint32_t item : tree.At(tree.root).items) ...
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genview {

enum class PickleKind : uint8_t {
  kNone,
  kBool,        // number
  kInt,         // number
  kFloat,       // real
  kText,        // text
  kList,        // items; tuples, lists and sets
  kDict,        // items: key, value, key, value; collections.OrderedDict and defaultdict too
  kGlobal,      // text: "module.name", one of those a tensor is made with
  kCall,        // items: a global and its arguments (a list)
  kPersistent,  // items: the persistent id (a list); PyTorch's storages
  kOpaque,      // something weights do not need: a number past 64 bits, bytes, an object of a known harmless class
};

struct PickleNode {
  PickleKind kind = PickleKind::kNone;
  union {
    int64_t number = 0;
    double real;
  };
  std::string_view text;        // into the bytes that were parsed; of a global: of the program
  std::vector<uint32_t> items;  // nodes; one node may stand in several places, even within itself
};

struct PickleTree {
  std::vector<PickleNode> nodes;
  uint32_t root = 0;

  const PickleNode& At(uint32_t node) const { return nodes[node]; }
};

// The bytes must outlive the tree. Time and memory are bounded by the bytes: at most 2 million values. Throws Error
// for: a name that is not on the list (naming it), an instruction that is not on the list, anything that is not well
// formed.
PickleTree ParsePickle(std::string_view bytes, const std::string& where);

}  // namespace genview

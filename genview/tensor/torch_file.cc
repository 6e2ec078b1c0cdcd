#include "genview/tensor/torch_file.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/tensor/pickle.h"
#include "genview/tensor/safetensors.h"
#include "genview/tensor/zip_index.h"

namespace genview {
namespace {

constexpr size_t kMaxPickle = 256u << 20, kMaxDepth = 32, kMaxDimensions = 64, kMaxName = 4096;
constexpr size_t kMaxTensors = 500'000, kMaxNameBytes = 256u << 20;
constexpr const char* kSaveAgain =
    "save the weights alone: torch.save(model.state_dict(), FILE) with PyTorch 1.6 or newer, or safetensors";

[[noreturn]] void Refuse(std::string what, const std::string& where, std::string next = kSaveAgain) {
  throw Error({.what = std::move(what), .where = where, .next = std::move(next)});
}

struct StorageType {
  std::string_view storage, dtype;  // as Python names them
  at::ScalarType scalar;
};
constexpr StorageType kTypes[] = {{"torch.FloatStorage", "torch.float32", at::kFloat},
                                  {"torch.HalfStorage", "torch.float16", at::kHalf},
                                  {"torch.BFloat16Storage", "torch.bfloat16", at::kBFloat16},
                                  {"torch.DoubleStorage", "torch.float64", at::kDouble},
                                  {"torch.LongStorage", "torch.int64", at::kLong},
                                  {"torch.IntStorage", "torch.int32", at::kInt},
                                  {"torch.ShortStorage", "torch.int16", at::kShort},
                                  {"torch.CharStorage", "torch.int8", at::kChar},
                                  {"torch.ByteStorage", "torch.uint8", at::kByte},
                                  {"torch.BoolStorage", "torch.bool", at::kBool},
                                  {"torch.ComplexFloatStorage", "", at::kComplexFloat},
                                  {"", "torch.uint16", at::kUInt16},
                                  {"", "torch.uint32", at::kUInt32},
                                  {"", "torch.uint64", at::kUInt64},
                                  {"", "torch.float8_e4m3fn", at::kFloat8_e4m3fn},
                                  {"", "torch.float8_e5m2", at::kFloat8_e5m2}};

// What the first bytes tell of a file that is no zip.
[[noreturn]] void RefuseForeign(std::string_view bytes, const std::string& where) {
  constexpr const char* kResave =
      "load it in Python with `torch.load`, if you trust it, and write it with `torch.save` of PyTorch 1.6 or newer, "
      "or as safetensors";
  if (bytes.size() > 262 && bytes.substr(257, 5) == "ustar")
    Refuse("the file is a tar, the format of PyTorch before 0.4", where, kResave);
  if (bytes.size() > 2 && static_cast<uint8_t>(bytes[0]) == 0x80 && static_cast<uint8_t>(bytes[1]) <= 5) {
    Refuse("the file is a bare pickle, the format of PyTorch before 1.6 or of another program", where, kResave);
  }
  if (bytes.starts_with("version https://git-lfs")) {
    Refuse("the file is a pointer of Git LFS, not the weights themselves", where,
           "fetch the weights with `git lfs pull`");
  }
  if (bytes.empty()) Refuse("the file is empty", where);
  Refuse("the file is no checkpoint of PyTorch: it does not begin as a zip archive does", where);
}

class TorchFileReader {
 public:
  TorchFileReader(std::string_view bytes, const std::string& where)
      : where_(where),
        zip_(ReadZipIndex(bytes, where)),
        allowance_(16 * static_cast<uint64_t>(bytes.size()) + (16u << 20)),
        result_(where) {
    FindTop();
    const std::string_view pickle = zip_.at(top_ + "data.pkl");
    if (pickle.size() > kMaxPickle)
      Refuse(Format("data.pkl has {} bytes, more than weights need", pickle.size()), where_);
    tree_ = ParsePickle(pickle, where);
  }

  WeightMap Read() {
    const PickleNode& root = tree_.At(tree_.root);
    if (root.kind == PickleKind::kCall)
      Refuse("the file holds one tensor without a name", where_, "save a dictionary of named tensors, or safetensors");
    const bool tensors = root.kind == PickleKind::kList && !root.items.empty() &&
                         std::all_of(root.items.begin(), root.items.end(),
                                     [this](uint32_t item) { return tree_.At(item).kind == PickleKind::kCall; });
    if (root.kind != PickleKind::kDict && !tensors) Refuse("the file holds no dictionary of tensors", where_);
    Visit(tree_.root, "", 0);
    return std::move(result_);
  }

 private:
  // All files of a checkpoint lie in one folder, whose name is anything.
  void FindTop() {
    std::set<std::string> tops;
    for (const auto& [name, bytes] : zip_) {
      const size_t slash = name.find('/');
      if (slash == std::string::npos || slash == 0 || name.find('\0') != std::string::npos) {
        Refuse("the archive holds files outside one folder: it was not written by torch.save", where_);
      }
      tops.insert(name.substr(0, slash + 1));
    }
    if (tops.size() != 1) Refuse("the archive is not one folder: it was not written by torch.save", where_);
    top_ = *tops.begin();
    if (zip_.count(top_ + "constants.pkl") != 0) {
      Refuse("the file is TorchScript: a program with its weights", where_,
             "save the weights alone: torch.save(module.state_dict(), FILE)");
    }
    if (zip_.count(top_ + "data.pkl") == 0)
      Refuse("the archive has no data.pkl: it was not written by torch.save", where_);
    const auto order = zip_.find(top_ + "byteorder");
    if (order != zip_.end() && order->second != "little")
      Refuse("the file was written on a big-endian machine", where_);
  }

  void Visit(uint32_t index, const std::string& name, size_t depth) {
    name_bytes_ += 1 + name.size();
    if (name_bytes_ > kMaxNameBytes)
      Refuse("the file's dictionaries hold more values than those of any weights", where_);
    if (depth > kMaxDepth) Refuse(Format("the file's dictionaries are nested more than {} deep", kMaxDepth), where_);
    if (name.size() > kMaxName) Refuse(Format("a name is longer than {} bytes", kMaxName), where_);
    const PickleNode& node = tree_.At(index);
    const auto below = [&](const std::string& key) { return depth == 0 ? key : Format("{}.{}", name, key); };
    switch (node.kind) {
      case PickleKind::kDict:
        for (size_t i = 0; i < node.items.size(); i += 2)
          Visit(node.items[i + 1], below(KeyOf(node.items[i])), depth + 1);
        return;
      case PickleKind::kList:
        for (size_t i = 0; i < node.items.size(); ++i) Visit(node.items[i], below(Format("{}", i)), depth + 1);
        return;
      case PickleKind::kCall: {
        if (result_.tensors().size() >= kMaxTensors)
          Refuse(Format("the file holds more than {} tensors", kMaxTensors), where_);
        if (result_.Has(name)) Refuse(Format("the tensor `{}` is there twice", name), where_);
        result_.Add(name, MakeTensor(index, name));
        return;
      }
      case PickleKind::kPersistent:
        Refuse(Format("`{}` is a bare storage, not a tensor", name), where_);
      case PickleKind::kInt:
        Note(name, depth, Format("{}", node.number));
        return;
      case PickleKind::kFloat:
        Note(name, depth, Format("{}", node.real));
        return;
      case PickleKind::kBool:
        Note(name, depth, node.number != 0 ? "true" : "false");
        return;
      case PickleKind::kText:
        Note(name, depth, std::string(node.text));
        return;
      default:
        return;
    }
  }

  void Note(const std::string& name, size_t depth, std::string value) {
    if (depth == 1 && value.size() <= 200 && IsUtf8(value) && result_.metadata().size() < 100)
      result_.metadata().emplace(name, std::move(value));
  }

  std::string KeyOf(uint32_t index) {
    const PickleNode& key = tree_.At(index);
    if (key.kind == PickleKind::kInt) return Format("{}", key.number);
    if (key.kind == PickleKind::kText && key.text.size() <= kMaxName && IsUtf8(key.text)) return std::string(key.text);
    if (key.kind == PickleKind::kOpaque) return "?";
    Refuse("a dictionary has a key that is neither text nor number", where_);
  }

  // A tuple of at least `count` values, which are the arguments of a call.
  const std::vector<uint32_t>& Arguments(const PickleNode& list, size_t count, const std::string& name) {
    if (list.kind != PickleKind::kList || list.items.size() < count)
      Refuse(Format("the tensor `{}` is made of too few values", name), where_);
    return list.items;
  }
  int64_t Whole(uint32_t index, const std::string& name) {
    const PickleNode& node = tree_.At(index);
    if (node.kind != PickleKind::kInt || node.number < 0)
      Refuse(Format("the tensor `{}` has a place, size or stride that is no whole number", name), where_);
    return node.number;
  }
  std::vector<int64_t> Extents(uint32_t index, const std::string& name) {
    const PickleNode& node = tree_.At(index);
    if (node.kind != PickleKind::kList || node.items.size() > kMaxDimensions)
      Refuse(Format("the tensor `{}` has a shape that is no tuple of sizes", name), where_);
    std::vector<int64_t> extents;
    for (const uint32_t item : node.items) extents.push_back(Whole(item, name));
    return extents;
  }

  Tensor MakeTensor(uint32_t index, const std::string& name) {
    const PickleNode* call = &tree_.At(index);
    // A parameter is a tensor and a flag.
    if (tree_.At(call->items[0]).text == "torch._utils._rebuild_parameter") {
      call = &tree_.At(Arguments(tree_.At(call->items[1]), 1, name)[0]);
      if (call->kind != PickleKind::kCall) Refuse(Format("the parameter `{}` is not made of a tensor", name), where_);
    }
    const std::string_view maker = tree_.At(call->items[0]).text;
    const bool untyped = maker == "torch._utils._rebuild_tensor_v3";
    if (!untyped && maker != "torch._utils._rebuild_tensor_v2")
      Refuse(Format("`{}` is made with `{}`, which makes no tensor", name, maker), where_);
    // (storage, offset, size, stride, requires_grad, hooks[, dtype of an untyped storage])
    const auto& arguments = Arguments(tree_.At(call->items[1]), untyped ? 7 : 4, name);
    std::optional<at::ScalarType> dtype;
    if (untyped) {
      for (const StorageType& type : kTypes) {
        if (!type.dtype.empty() && tree_.At(arguments[6]).kind == PickleKind::kGlobal &&
            tree_.At(arguments[6]).text == type.dtype)
          dtype = type.scalar;
      }
      if (!dtype) Refuse(Format("the tensor `{}` has a type this program does not read", name), where_);
    }
    const std::string_view data = StorageOf(arguments[0], dtype, name);
    return View(data, *dtype, Whole(arguments[1], name), Extents(arguments[2], name), Extents(arguments[3], name),
                name);
  }

  // The bytes of ("storage", class, key, location, numel); gives the class's dtype where the storage has one.
  std::string_view StorageOf(uint32_t index, std::optional<at::ScalarType>& dtype, const std::string& name) {
    const PickleNode& node = tree_.At(index);
    if (node.kind != PickleKind::kPersistent) Refuse(Format("the tensor `{}` has no storage", name), where_);
    const auto& id = Arguments(tree_.At(node.items[0]), 5, name);
    const PickleNode &tag = tree_.At(id[0]), &type = tree_.At(id[1]), &key = tree_.At(id[2]);
    if (tag.kind != PickleKind::kText || tag.text != "storage" || type.kind != PickleKind::kGlobal ||
        key.kind != PickleKind::kText || key.text.size() > 200) {
      Refuse(Format("the tensor `{}` has a storage of an unknown kind", name), where_);
    }
    std::optional<at::ScalarType> typed;
    for (const StorageType& known : kTypes) {
      if (!known.storage.empty() && known.storage == type.text) typed = known.scalar;
    }
    if (!typed && type.text != "torch.storage.UntypedStorage")
      Refuse(Format("the tensor `{}` has a storage of the class `{}`", name, type.text), where_);
    if (!dtype) dtype = typed;
    if (!dtype) Refuse(Format("the tensor `{}` does not say what its numbers are", name), where_);
    const auto file = zip_.find(Format("{}data/{}", top_, key.text));
    if (file == zip_.end()) Refuse(Format("the numbers of the tensor `{}` are missing", name), where_);
    uint64_t bytes = typed ? at::elementSize(*typed) : 1;
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(Whole(id[4], name)), &bytes) ||
        bytes != file->second.size()) {
      Refuse(Format("the storage of the tensor `{}` claims {} values, but holds {} bytes", name, tree_.At(id[4]).number,
                    file->second.size()),
             where_);
    }
    return file->second;
  }

  Tensor View(std::string_view data, at::ScalarType dtype, int64_t offset, const std::vector<int64_t>& sizes,
              const std::vector<int64_t>& strides, const std::string& name) {
    if (sizes.size() != strides.size())
      Refuse(Format("the tensor `{}` has {} sizes and {} strides", name, sizes.size(), strides.size()), where_);
    const uint64_t element = at::elementSize(dtype);
    uint64_t count = element, last = static_cast<uint64_t>(offset);  // bytes seen through the view; its last element
    const bool empty = std::find(sizes.begin(), sizes.end(), 0) != sizes.end();
    bool large = false;
    for (size_t i = 0; i < sizes.size(); ++i) {
      uint64_t reach = 0;
      large |= __builtin_mul_overflow(count, static_cast<uint64_t>(std::max<int64_t>(sizes[i], 1)), &count) ||
               count > INT64_MAX;
      large |= __builtin_mul_overflow(static_cast<uint64_t>(std::max<int64_t>(sizes[i], 1) - 1),
                                      static_cast<uint64_t>(strides[i]), &reach);
      large |= __builtin_add_overflow(last, reach, &last);
    }
    if (large) Refuse(Format("the tensor `{}` has a shape too large to count", name), where_);
    const auto options = at::TensorOptions().dtype(dtype);
    if (empty) return at::empty(sizes, options);
    if (last >= data.size() / element) {
      Refuse(Format("the tensor `{}` reaches to value {} of a storage of {}", name, last, data.size() / element),
             where_);
    }
    // A view may repeat values, and many may share a storage; copies of all of them must still fit into memory.
    if (count > allowance_) Refuse("the tensors are far larger than the file that holds them", where_);
    allowance_ -= count;
    const char* begin = data.data() + static_cast<uint64_t>(offset) * element;
    if (dtype == at::kBool || reinterpret_cast<uintptr_t>(begin) % element != 0) {
      // Not aligned, or bytes that might be neither true nor false: a copy of what the view spans.
      const uint64_t span = last - static_cast<uint64_t>(offset) + 1;
      if (span * element > allowance_) Refuse("the tensors are far larger than the file that holds them", where_);
      allowance_ -= span * element;
      Tensor copy = at::empty({static_cast<int64_t>(span)}, options);
      std::memcpy(copy.data_ptr(), begin, span * element);
      if (dtype == at::kBool) copy = copy.view(at::kByte).ne(0);
      return copy.as_strided(sizes, strides);
    }
    return at::from_blob(const_cast<char*>(begin), sizes, strides, options);
  }

  const std::string& where_;
  ZipIndex zip_;
  uint64_t allowance_;  // bytes that the tensors may still have together
  WeightMap result_;
  std::string top_;  // "archive/"
  PickleTree tree_;
  size_t name_bytes_ = 0;  // of all values seen, each where it stands
};

}  // namespace

WeightMap ParseTorchFile(std::string_view bytes, const std::string& where) {
  if (!bytes.starts_with("PK")) RefuseForeign(bytes, where);
  return TorchFileReader(bytes, where).Read();
}

WeightMap ReadTorchFile(const Path& path) {
  auto mapped = std::make_shared<MappedFile>(path);
  WeightMap weights = ParseTorchFile(mapped->text(), path.string());
  weights.Keep(mapped);
  return weights;
}

WeightMap ReadWeightsFile(const Path& path) {
  bool safetensors = false;
  {
    const MappedFile mapped(path);
    safetensors = mapped.size() > 8 && mapped.text()[8] == '{' && !mapped.text().starts_with("PK");
  }
  return safetensors ? ReadSafetensors(path) : ReadTorchFile(path);
}

}  // namespace genview

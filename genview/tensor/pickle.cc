#include "genview/tensor/pickle.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr size_t kMaxNodes = 2'000'000, kMaxStack = 4'000'000, kMaxItems = 16'000'000;

[[noreturn]] void Refuse(std::string what, const std::string& where) {
  throw Error(
      {.what = std::move(what),
       .where = where,
       .next =
           "save the weights alone: torch.save(model.state_dict(), FILE) with PyTorch 1.6 or newer, or safetensors"});
}

// What a tensor is made with, and getattr, which is only passed over: see Call.
constexpr std::string_view kGlobals[] = {"torch._utils._rebuild_tensor_v2",
                                         "torch._utils._rebuild_tensor_v3",
                                         "torch._utils._rebuild_parameter",
                                         "torch.Size",
                                         "torch.FloatStorage",
                                         "torch.HalfStorage",
                                         "torch.BFloat16Storage",
                                         "torch.DoubleStorage",
                                         "torch.LongStorage",
                                         "torch.IntStorage",
                                         "torch.ShortStorage",
                                         "torch.CharStorage",
                                         "torch.ByteStorage",
                                         "torch.BoolStorage",
                                         "torch.ComplexFloatStorage",
                                         "torch.storage.UntypedStorage",
                                         "torch.float32",
                                         "torch.float16",
                                         "torch.bfloat16",
                                         "torch.float64",
                                         "torch.int64",
                                         "torch.int32",
                                         "torch.int16",
                                         "torch.int8",
                                         "torch.uint8",
                                         "torch.uint16",
                                         "torch.uint32",
                                         "torch.uint64",
                                         "torch.bool",
                                         "torch.float8_e4m3fn",
                                         "torch.float8_e5m2",
                                         "collections.OrderedDict",
                                         "collections.defaultdict",
                                         "builtins.getattr",
                                         "__builtin__.getattr"};

// What training programs leave in their checkpoints beside the weights: settings, log buffers, random states. Nothing
// of it is kept.
bool Harmless(std::string_view name) {
  constexpr std::string_view kNames[] = {"argparse.Namespace",
                                         "types.SimpleNamespace",
                                         "collections.deque",
                                         "collections.Counter",
                                         "_codecs.encode",
                                         "copy_reg._reconstructor",
                                         "copyreg._reconstructor",
                                         "typing.Any",
                                         "pathlib.Path",
                                         "pathlib.PosixPath",
                                         "pathlib.PurePosixPath",
                                         "datetime.datetime",
                                         "datetime.timedelta",
                                         "torch.device",
                                         "numpy.ndarray",
                                         "numpy.dtype",
                                         "numpy.core.multiarray._reconstruct",
                                         "numpy.core.multiarray.scalar",
                                         "numpy._core.multiarray._reconstruct",
                                         "numpy._core.multiarray.scalar",
                                         "numpy.float64",
                                         "numpy.float32",
                                         "numpy.int64",
                                         "numpy.int32",
                                         "numpy.bool_"};
  // Protocol 2 calls int, str and range as Python 2 did.
  constexpr std::string_view kTypes[] = {"set",    "frozenset", "list",  "dict",  "tuple",   "int",
                                         "long",   "float",     "bool",  "str",   "unicode", "complex",
                                         "object", "bytearray", "slice", "range", "xrange"};
  constexpr std::string_view kPackages[] = {
      "mmengine.", "mmcv.", "omegaconf.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "yacs."};
  const auto among = [](const auto& list, std::string_view word) {
    return std::find(std::begin(list), std::end(list), word) != std::end(list);
  };
  if (among(kNames, name)) return true;
  for (const std::string_view module : {"builtins.", "__builtin__."}) {
    if (name.starts_with(module) && among(kTypes, name.substr(module.size()))) return true;
  }
  return std::any_of(std::begin(kPackages), std::end(kPackages),
                     [&](std::string_view package) { return name.starts_with(package); });
}

class Parser {
 public:
  Parser(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  PickleTree Run() {
    none_ = New(PickleKind::kNone);
    opaque_ = New(PickleKind::kOpaque);
    while (Step()) {
    }
    if (stack_.size() != 1 || !marks_.empty()) Refuse("the pickle ends with something left over", where_);
    tree_.root = stack_[0];
    return std::move(tree_);
  }

 private:
  uint32_t New(PickleKind kind) {
    if (tree_.nodes.size() >= kMaxNodes) Refuse(Format("the pickle holds more than {} values", kMaxNodes), where_);
    tree_.nodes.emplace_back().kind = kind;
    return static_cast<uint32_t>(tree_.nodes.size() - 1);
  }
  PickleNode& At(uint32_t node) { return tree_.nodes[node]; }
  void Push(uint32_t node) {
    if (stack_.size() >= kMaxStack) Refuse("the pickle needs a deeper stack than any weights do", where_);
    stack_.push_back(node);
  }
  void PushNumber(PickleKind kind, int64_t number) {
    const uint32_t node = New(kind);
    At(node).number = number;
    Push(node);
  }
  void PushText(std::string_view text) {
    const uint32_t node = New(PickleKind::kText);
    At(node).text = text;
    Push(node);
  }
  uint32_t Top() {
    if (stack_.size() <= Floor())
      Refuse(Format("the pickle takes more than it has put down (byte {})", place_), where_);
    return stack_.back();
  }
  uint32_t Pop() {
    const uint32_t node = Top();
    stack_.pop_back();
    return node;
  }
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<uint32_t> PopMarked() {
    if (marks_.empty()) Refuse(Format("the pickle ends a group that never began (byte {})", place_), where_);
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<uint32_t> items(begin, stack_.end());
    CountItems(items.size());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void PushList(std::vector<uint32_t> items) {
    const uint32_t node = New(PickleKind::kList);
    At(node).items = std::move(items);
    Push(node);
  }
  void PushTuple(size_t count) {
    std::vector<uint32_t> items(count);
    for (size_t i = count; i-- > 0;) items[i] = Pop();
    PushList(std::move(items));
  }

  std::string_view Bytes(uint64_t count) {
    if (count > bytes_.size() - place_) Refuse("the pickle is cut off", where_);
    const std::string_view bytes = bytes_.substr(place_, count);
    place_ += count;
    return bytes;
  }
  template <class T>
  T Number() {
    T value;
    std::memcpy(&value, Bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view Line() {
    const size_t end = bytes_.find('\n', place_);
    if (end == std::string_view::npos) Refuse("the pickle is cut off", where_);
    const std::string_view line = bytes_.substr(place_, end - place_);
    place_ = end + 1;
    return line;
  }

  void PushGlobal(std::string_view module, std::string_view name) {
    const std::string whole = Format("{}.{}", module, name);
    for (size_t i = 0; i < std::size(kGlobals); ++i) {
      if (whole != kGlobals[i]) continue;
      if (globals_[i] == 0) {
        globals_[i] = New(PickleKind::kGlobal);
        At(globals_[i]).text = kGlobals[i];
      }
      return Push(globals_[i]);
    }
    if (Harmless(whole)) return Push(opaque_);
    RefuseGlobal(whole);
  }
  [[noreturn]] void RefuseGlobal(std::string_view name) {
    const bool readable =
        IsUtf8(name) && std::none_of(name.begin(), name.end(), [](char c) { return c >= 0 && c < 32; });
    Refuse(Format("the file wants `{}` of Python, which no weights need; nothing of it was run",
                  readable ? Printable(name) : "something unreadable"),
           where_);
  }

  // A call, which is not made: what it would give is known by the name.
  void Call(bool new_object) {
    const uint32_t arguments = Pop(), callable = Pop();
    if (At(arguments).kind != PickleKind::kList) Refuse("the pickle calls with arguments that are no tuple", where_);
    if (At(callable).kind == PickleKind::kOpaque) return Push(opaque_);
    if (At(callable).kind != PickleKind::kGlobal) Refuse("the pickle calls something that is no name", where_);
    const std::string_view name = At(callable).text;
    if (name.starts_with("collections.")) return PushDict(arguments);
    if (name.ends_with(".getattr")) {  // mmengine's checkpoints keep their log buffers with methods of the class
      const auto& list = At(arguments).items;
      if (new_object || list.empty() || At(list[0]).kind != PickleKind::kOpaque) RefuseGlobal(name);
      return Push(opaque_);
    }
    if (new_object) Refuse(Format("the pickle makes an object of `{}`", name), where_);
    if (name == "torch.Size") {
      const auto& list = At(arguments).items;
      if (list.size() != 1 || At(list[0]).kind != PickleKind::kList)
        Refuse("a torch.Size is not made of one tuple", where_);
      return Push(list[0]);
    }
    const uint32_t call = New(PickleKind::kCall);
    At(call).items = {callable, arguments};
    Push(call);
  }

  // OrderedDict(), or OrderedDict([[key, value], ...]) as Python 2 wrote it; of a defaultdict's arguments none is kept.
  void PushDict(uint32_t arguments) {
    const uint32_t dict = New(PickleKind::kDict);
    const auto& list = At(arguments).items;
    if (list.size() == 1 && At(list[0]).kind == PickleKind::kList) {
      for (const uint32_t pair : At(list[0]).items) {
        if (At(pair).kind != PickleKind::kList || At(pair).items.size() != 2)
          Refuse("an OrderedDict is made of things that are no pairs", where_);
        CountItems(2);
        At(dict).items.insert(At(dict).items.end(), At(pair).items.begin(), At(pair).items.end());
      }
    }
    Push(dict);
  }
  // One list may be put into many others, so that what is stored is not bounded by the pickle's length.
  void CountItems(size_t count) {
    item_count_ += count;
    if (item_count_ > kMaxItems) Refuse(Format("the pickle's lists hold more than {} values", kMaxItems), where_);
  }

  void SetItems(const std::vector<uint32_t>& items) {
    PickleNode& target = At(Top());
    if (items.size() % 2 != 0) Refuse("the pickle sets a key without a value", where_);
    if (target.kind == PickleKind::kOpaque) return;
    if (target.kind != PickleKind::kDict) Refuse("the pickle sets a key of something that is no dictionary", where_);
    target.items.insert(target.items.end(), items.begin(), items.end());
  }
  void AppendItems(const std::vector<uint32_t>& items) {
    PickleNode& target = At(Top());
    if (target.kind == PickleKind::kOpaque) return;
    if (target.kind != PickleKind::kList) Refuse("the pickle appends to something that is no list", where_);
    target.items.insert(target.items.end(), items.begin(), items.end());
  }
  void Remember(uint32_t slot) {
    memo_[slot] = Top();
    if (memo_.size() > kMaxNodes) Refuse(Format("the pickle remembers more than {} values", kMaxNodes), where_);
  }
  void Recall(uint32_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) Refuse(Format("the pickle recalls value {}, which it has not remembered", slot), where_);
    Push(found->second);
  }

  bool Step();

  std::string_view bytes_;
  const std::string& where_;
  size_t place_ = 0;
  PickleTree tree_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, uint32_t> memo_;
  std::array<uint32_t, std::size(kGlobals)> globals_{};  // their nodes, 0: not named so far
  uint32_t none_ = 0, opaque_ = 0;
  size_t item_count_ = 0;
};

// One instruction; false after the last.
bool Parser::Step() {
  const auto code = static_cast<uint8_t>(Bytes(1)[0]);
  switch (code) {
    case 0x80: {  // PROTO
      const auto version = Number<uint8_t>();
      if (version < 2 || version > 5)
        Refuse(Format("pickle protocol {} is not one that torch.save writes", version), where_);
      return true;
    }
    case 0x95:
      Bytes(8);
      return true;  // FRAME
    case '.':
      return false;  // STOP
    case '(':
      marks_.push_back(stack_.size());  // MARK
      if (marks_.size() > kMaxStack) Refuse("the pickle needs a deeper stack than any weights do", where_);
      return true;
    case '}':
      Push(New(PickleKind::kDict));
      return true;  // EMPTY_DICT
    case ']':
      Push(New(PickleKind::kList));
      return true;  // EMPTY_LIST
    case ')':
      Push(New(PickleKind::kList));
      return true;  // EMPTY_TUPLE
    case 0x8f:
      Push(New(PickleKind::kList));
      return true;  // EMPTY_SET
    case 't':
      PushList(PopMarked());
      return true;  // TUPLE
    case 'l':
      PushList(PopMarked());
      return true;  // LIST
    case 0x91:
      PushList(PopMarked());
      return true;  // FROZENSET
    case 0x85:
      PushTuple(1);
      return true;  // TUPLE1
    case 0x86:
      PushTuple(2);
      return true;  // TUPLE2
    case 0x87:
      PushTuple(3);
      return true;  // TUPLE3
    case 'N':
      Push(none_);
      return true;  // NONE
    case 0x88:
      PushNumber(PickleKind::kBool, 1);
      return true;  // NEWTRUE
    case 0x89:
      PushNumber(PickleKind::kBool, 0);
      return true;  // NEWFALSE
    case 'J':
      PushNumber(PickleKind::kInt, Number<int32_t>());
      return true;  // BININT
    case 'K':
      PushNumber(PickleKind::kInt, Number<uint8_t>());
      return true;  // BININT1
    case 'M':
      PushNumber(PickleKind::kInt, Number<uint16_t>());
      return true;  // BININT2
    case 0x8a: {    // LONG1
      const std::string_view digits = Bytes(Number<uint8_t>());
      if (digits.size() > 8) {
        Push(opaque_);
        return true;
      }
      int64_t value = !digits.empty() && static_cast<int8_t>(digits.back()) < 0 ? -1 : 0;
      if (!digits.empty()) std::memcpy(&value, digits.data(), digits.size());
      PushNumber(PickleKind::kInt, value);
      return true;
    }
    case 'G': {  // BINFLOAT, big-endian
      const uint32_t node = New(PickleKind::kFloat);
      const uint64_t bits = __builtin_bswap64(Number<uint64_t>());
      std::memcpy(&At(node).real, &bits, 8);
      Push(node);
      return true;
    }
    case 'X':
      PushText(Bytes(Number<uint32_t>()));
      return true;  // BINUNICODE
    case 0x8c:
      PushText(Bytes(Number<uint8_t>()));
      return true;  // SHORT_BINUNICODE
    case 0x8d:
      PushText(Bytes(Number<uint64_t>()));
      return true;  // BINUNICODE8
    case 'T':
      PushText(Bytes(Number<uint32_t>()));
      return true;  // BINSTRING
    case 'U':
      PushText(Bytes(Number<uint8_t>()));
      return true;  // SHORT_BINSTRING
    case 'B':
      Bytes(Number<uint32_t>());
      Push(opaque_);
      return true;  // BINBYTES
    case 'C':
      Bytes(Number<uint8_t>());
      Push(opaque_);
      return true;  // SHORT_BINBYTES
    case 0x8e:
      Bytes(Number<uint64_t>());
      Push(opaque_);
      return true;  // BINBYTES8
    case 'q':
      Remember(Number<uint8_t>());
      return true;  // BINPUT
    case 'r':
      Remember(Number<uint32_t>());
      return true;  // LONG_BINPUT
    case 0x94:
      Remember(static_cast<uint32_t>(memo_.size()));
      return true;  // MEMOIZE
    case 'h':
      Recall(Number<uint8_t>());
      return true;  // BINGET
    case 'j':
      Recall(Number<uint32_t>());
      return true;  // LONG_BINGET
    case 'c': {     // GLOBAL
      const std::string_view module = Line();
      PushGlobal(module, Line());
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const PickleNode &name = At(Pop()), &module = At(Pop());
      if (name.kind != PickleKind::kText || module.kind != PickleKind::kText)
        Refuse("the pickle names something by what is no text", where_);
      const std::string_view module_text = module.text, name_text = name.text;
      PushGlobal(module_text, name_text);
      return true;
    }
    case 'R':
      Call(/*new_object=*/false);
      return true;  // REDUCE
    case 0x81:
      Call(/*new_object=*/true);
      return true;  // NEWOBJ
    case 'b': {     // BUILD: attributes, which weights do not need
      Pop();
      const PickleKind target = At(Top()).kind;
      if (target != PickleKind::kDict && target != PickleKind::kOpaque)
        Refuse("the pickle sets attributes of something that has none", where_);
      return true;
    }
    case 's': {  // SETITEM
      const uint32_t value = Pop(), key = Pop();
      CountItems(2);
      SetItems({key, value});
      return true;
    }
    case 'u':
      SetItems(PopMarked());
      return true;  // SETITEMS
    case 'a':
      CountItems(1);
      AppendItems({Pop()});
      return true;  // APPEND
    case 'e':
      AppendItems(PopMarked());
      return true;  // APPENDS
    case 0x90:
      AppendItems(PopMarked());
      return true;  // ADDITEMS
    case 'Q': {     // BINPERSID
      const uint32_t id = Pop(), node = New(PickleKind::kPersistent);
      At(node).items = {id};
      Push(node);
      return true;
    }
    default:
      Refuse(Format("the pickle has the instruction 0x{:02x} at byte {}, which no weights need", code, place_ - 1),
             where_);
  }
}

}  // namespace

PickleTree ParsePickle(std::string_view bytes, const std::string& where) {
  if (bytes.empty() || static_cast<uint8_t>(bytes[0]) != 0x80)
    Refuse("the pickle does not begin as one of torch.save", where);
  return Parser(bytes, where).Run();
}

}  // namespace genview

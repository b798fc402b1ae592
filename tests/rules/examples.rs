//! The worked batches of the specification, root by root (batch §16).

use revm::primitives::{Address, B256, U256, address, b256, keccak256};
use zkevm_batch::log_hash;
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_tree::{BlockInfoKind, LeafKind, account_key, block_info_key, storage_key};
use zkevm_types::{BatchContext, BatchInput, L1InfoLeaf};
use zkevm_types::{BatchOutput, RomError};

use super::support::{
    GER_MANAGER, SYSTEM, State, V2, bytes, ether, l1_leaf_hash, l1_proof, mapping_slot, node, request, same,
    transactions, v2,
};

const A0: Address = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
const A1: Address = address!("4d5Cf5032B2a844602278b01199ED191A86c93ff");
const THIRD: Address = address!("eB17ce701E9D92724AA2ABAdA7E4B28830597Dd9");
const GER: B256 = b256!("090bcaf734c4f06c93954a827b45a6e8c67b8e0fd1e0a35a1c5982d6961828f9");
const TIMESTAMP: u64 = 1_944_498_031;
/// Leaf hash of an L1 info tree entry of zeros, which is leaf 0 of the tree.
const ZERO_LEAF: B256 = b256!("3cac317908c699fe873a7f6ee4e8cd63fbe9918b2315c97be91585590168e301");
const FORCED_HASH: B256 = b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3");

/// 22 ether from A0 to A1 (§16.1).
const TRANSFER: &str = "ef 80 843b9aca00 830186a0 944d5cf5032b2a844602278b01199ed191a86c93ff 8901314fb37062980000 80
    8203e8 8080 f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea5
    6029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b 1b ff";
/// A tenth of an ether from A0 to A1 (§16.3).
const SMALL_TRANSFER: &str = "ee80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff88016345785d8a0000
    808203e88080 1cee7e01dc62f69a12c3510c6d64de04ee6346d84b6a017f3e786c7d87f963e7
    5d8cc91fa983cd6d9cf55fff80d73bd26cd333b0f098acc1e58edb1fd484ad73 1b ff";
/// Root of A0 with 100 and A1 with 200 ether.
const TWO_ACCOUNTS: B256 = b256!("4a9bfcb163ec91c5beb22e6aca41592433092c8c7821b01d37fd0de483f9265d");

fn state(accounts: &[(Address, u64)]) -> State {
    let account = |&(address, count)| GenesisAccount { address, balance: ether(count), ..GenesisAccount::default() };
    State::new(accounts.iter().map(account).collect())
}

fn rich_state() -> State {
    let state = state(&[(A0, 1000)]);
    same("old root", state.root, b256!("3ca39a7b5b419d1c50c89a8d15d1234f6cbc8baadb465efb609832bbc19f9026"));
    state
}

fn two_accounts() -> State {
    let state = state(&[(A0, 100), (A1, 200)]);
    same("old root", state.root, TWO_ACCOUNTS);
    state
}

/// A V2 request of the examples: sequencer A0.
fn v2_request(fork: u64, root: B256, items: &[&str], limit: u64, l1_info_root: B256) -> BatchInput {
    let mut input = request(fork, root, bytes(&items.concat()));
    input.coinbase = A0;
    v2(&mut input).timestamp_limit = limit;
    v2(&mut input).l1_info_root = l1_info_root;
    input
}

fn same_hashes(input: &BatchInput, output: &BatchOutput, batch_hash: B256, acc_input_hash: B256) {
    same("batch hash", keccak256(&input.batch_l2_data), batch_hash);
    let roots = output.roots.expect("a batch that ran has roots");
    same("accumulated input hash", roots.new_acc_input_hash, acc_input_hash);
    same("local exit root", roots.new_local_exit_root, B256::ZERO);
}

fn root_of(output: &BatchOutput) -> B256 {
    output.roots.expect("a batch that ran has roots").new_state_root
}

/// §16.1
#[test]
fn a_transfer_in_fork_6() {
    let mut state = rich_state();
    let mut input = request(6, state.root, bytes(TRANSFER));
    input.coinbase = A0;
    input.context = BatchContext::V1 { global_exit_root: GER, eth_timestamp: TIMESTAMP };
    let output = state.run(&input);

    let [tx] = &output.transactions[..] else { panic!("one transaction: {:?}", output.transactions) };
    let new_root = b256!("f96e5fada3068287b9c78ce46c31cf3c03e817bb764be203daf61ddcac6d73e7");
    same("tx hash", tx.tx_hash, b256!("5da56360f34658d23f2aa9fca6c022bdf0fc9e6013ad5976b01aabb244740a71"));
    same("tx root", tx.state_root, new_root);
    same("gas used", (tx.gas_used, output.gas_used), (21_000, 21_000));
    same("new root", root_of(&output), new_root);
    same_hashes(
        &input,
        &output,
        b256!("e5c9ae43e0d297207a4ad4660c0bff48a84352ca7075bda1ff0cce0158cfe2b9"),
        b256!("94f26844ae8499200eb4d472c28ace6d527548ccff182dea8bb6781cd7d5259e"),
    );

    // The same state, write by write.
    let ger_slot: U256 = b256!("53d3f126103a7f7d6245751d2392e0245bf71479d10a3c27a5b501ace6dde1b7").into();
    same("slot of the global exit root", mapping_slot(GER.into(), 0), ger_slot);
    let batch_root = b256!("dda3f27490afe6c4d4944f6f0deff88d32d33ee0a7314389781be9760f6e821f");
    let ger_write = [(storage_key(GER_MANAGER, ger_slot), U256::from(TIMESTAMP))];
    same("after the global exit root", state.write(&ger_write), batch_root);
    let after_fees = b256!("ebbb959ad3931d49e41b3913351d80033ebc1aad5fbfdab01cbad117488bc856");
    same("after the fees", state.write(&transfer_leaves()), after_fees);
    let after_count = b256!("b34368aa2c4c83f49c0a7847904a026527b4eda5b8ec425cd3bcbbe4d806bada");
    same("after the count", state.write(&[(storage_key(SYSTEM, U256::ZERO), U256::from(1))]), after_count);
    let root_slot = mapping_slot(U256::from(1), 1);
    let expected = b256!("cc69885fda6bcc1a4ace058b4a62bf5e179ea78fd58a1ccd71c22cc9b688792f");
    same("slot of root 1", root_slot, expected.into());
    same("root 1 in the answer", state.slot(new_root, SYSTEM, root_slot), after_count.into());
    same("after root 1", state.write(&[(storage_key(SYSTEM, root_slot), after_count.into())]), new_root);
}

/// Leaves after the transfer of 22 ether whose fee comes back to its sender.
fn transfer_leaves() -> [(zkevm_tree::Digest, U256); 3] {
    [
        (account_key(A0, LeafKind::Balance), ether(978)),
        (account_key(A0, LeafKind::Nonce), U256::from(1)),
        (account_key(A1, LeafKind::Balance), ether(22)),
    ]
}

/// §16.2
#[test]
fn the_same_transfer_in_an_l2_block() {
    for (fork, info_root, block_hash) in [
        (
            7,
            b256!("f756aec1dfedc3597d91ee6185321a9ce5e990ae88ed8b8e9d7c8626a52d655b"),
            b256!("c136050b509e5575c021810b1c7c8b19254be115805f34ef77cc6bc401bf007f"),
        ),
        (
            8,
            b256!("ffef17188127722ba0bdc7861a3d586a888e0a29bb0eec9039a55255ad0866cb"),
            b256!("b5cc512a2992d9793fa3b59b0b9d04bf975e693ceee5e426b77b9fa13c6b3ad9"),
        ),
        (
            9,
            b256!("ffef17188127722ba0bdc7861a3d586a888e0a29bb0eec9039a55255ad0866cb"),
            b256!("b5cc512a2992d9793fa3b59b0b9d04bf975e693ceee5e426b77b9fa13c6b3ad9"),
        ),
    ] {
        let state = rich_state();
        let input = v2_request(fork, state.root, &["0b 73e6af6f 00000000", TRANSFER], TIMESTAMP + 4, GER);
        let output = state.run(&input);
        let [block] = &output.blocks[..] else { panic!("fork {fork}: one block: {:?}", output.blocks) };
        let [tx] = &block.transactions[..] else { panic!("fork {fork}: one transaction: {block:?}") };
        let l2_hash = b256!("f3931966832714d2ff842e3ec070a96b03dafb8d501e6e26244d988b66b42033");
        let tx_root = b256!("8a40821d04f952aeb587ef781adc53c955cd4f7c87fbdda906247af14d8d82c1");
        same("tx hash", tx.tx_hash, b256!("5da56360f34658d23f2aa9fca6c022bdf0fc9e6013ad5976b01aabb244740a71"));
        same("l2 tx hash", tx.tx_hash_l2, l2_hash);
        same("tx root", tx.state_root, tx_root);
        same("status and gas", (tx.status, tx.gas_used, tx.cumulative_gas_used), (true, 21_000, 21_000));
        same("parent hash", block.parent_hash, state.root);
        same("number and time", (block.block_number, block.timestamp), (1, TIMESTAMP));
        same("block gas limit", block.gas_limit, if fork == 7 { u64::MAX } else { 1 << 50 });
        same("block info root", block.block_info_root, info_root);
        same("block hash", block.block_hash, block_hash);
        same("new root", root_of(&output), block_hash);
        same_hashes(
            &input,
            &output,
            b256!("a718f3ce11ce83a0c67399031e11fcd292d10d291275539b50fcf2c8860f4ecc"),
            b256!("e90aebab9b50f404ab1b422b3577c9bd8c1261ea3483eb1a3c5283049c0ba3bf"),
        );
    }
}

/// §16.2, the roots between
#[test]
fn an_l2_block_writes_its_slots_in_order() {
    let mut state = rich_state();
    let parent_hash = state.root;
    let parent_slot: U256 = b256!("a6eef7e35abe7026729641147f7915573c7e97b47efa546f5f6e3230263bcb49").into();
    same("slot of root 0", mapping_slot(U256::ZERO, 1), parent_slot);
    let system = |slot: U256, value: U256| [(storage_key(SYSTEM, slot), value)];
    let after_parent = b256!("23620f3d80e7c5245c92129842d1bde7888cb1f3acd5f19af6634375941a8a59");
    same("after the parent hash", state.write(&system(parent_slot, parent_hash.into())), after_parent);
    let after_number = b256!("2d329c6df7d16e4f2621337baede50f339bb7e2cd6e930f25963152056853935");
    same("after the number", state.write(&system(U256::ZERO, U256::from(1))), after_number);
    let after_timestamp = b256!("a06837548bda398338174fc012ce95249f9430aafa513c7fdea0f3d496f73d21");
    same("after the timestamp", state.write(&system(U256::from(2), U256::from(TIMESTAMP))), after_timestamp);
    let after_fees = b256!("8a40821d04f952aeb587ef781adc53c955cd4f7c87fbdda906247af14d8d82c1");
    same("after the fees", state.write(&transfer_leaves()), after_fees);
    let info_root = b256!("ffef17188127722ba0bdc7861a3d586a888e0a29bb0eec9039a55255ad0866cb");
    let block_hash = b256!("b5cc512a2992d9793fa3b59b0b9d04bf975e693ceee5e426b77b9fa13c6b3ad9");
    same("after the info root", state.write(&system(U256::from(3), info_root.into())), block_hash);
}

/// §16.2, the vector whose published root is of an older ROM
#[test]
fn a_transfer_without_recipient_balance_in_fork_7() {
    let state = rich_state();
    let transfer = "ee80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff8829a2241af62c0000808203e88080
        30b042c001e60b5e93c5d20786896d6ee49161492162f0f2a06fbaa4e74e94d7
        79539c219adbb6bacf96dd0d10a44b1e30cade645363216f77b7938c2437ed39 1c ff";
    let input = v2_request(7, state.root, &["0b 73e6af6f 00000000", transfer], TIMESTAMP, GER);
    let output = state.run(&input);
    let [block] = &output.blocks[..] else { panic!("one block: {:?}", output.blocks) };
    let [tx] = &block.transactions[..] else { panic!("one transaction: {block:?}") };
    let info_root = b256!("ce7b82f945a4b292069bbdb9070dcaf0f92e4aa91629eae446e23c77d5c33745");
    let new_root = b256!("c5b37eb131fd3ac13e3c43fc9594bbbf026a2bb39c8ac559d3044de96343664e");
    same("tx hash", tx.tx_hash, b256!("de811dc9e43d3211619b8b010ce9b23c72a5e459af8c7334f5a341de30276dc7"));
    same("l2 tx hash", tx.tx_hash_l2, b256!("25593ee1bab90159193d9332abb68eb0b0ea8ac06a1f07d0fa781de06ce30328"));
    same("tx root", tx.state_root, b256!("e1d85bcada5ab077fae3efc3e306d4de70b42a920f5f2b06516c700a4f2bf56e"));
    same("block info root", block.block_info_root, info_root);
    same("new root", root_of(&output), new_root);
    same_hashes(
        &input,
        &output,
        b256!("17225308cf160c7315d484573676da6806d6f360737c7b1d63b9759946e58175"),
        b256!("d2d839da7f82e5166978cba6c2a690897a929bac69f167ace77bfc40844d9023"),
    );
}

fn first_l1_leaf() -> L1InfoLeaf {
    L1InfoLeaf {
        global_exit_root: b256!("16994edfddddb9480667b64174fc00d3b6da7290d37b8db3a16571b4ddf0789f"),
        block_hash_l1: b256!("24a5871d68723340d9eadc674aa8ad75f3e33b61d5a9db7db92af856a19270bb"),
        min_timestamp: 42,
        smt_proof: Vec::new(),
    }
}

/// §16.3
#[test]
fn two_blocks_with_l1_info() {
    let first = first_l1_leaf();
    let second = L1InfoLeaf {
        global_exit_root: b256!("cefad4e508c098b9a7e1d8feb19955fb02ba9675585078710969d3440f5054e0"),
        block_hash_l1: b256!("b8cd74046ff337f0a7bf2c8e03e10f642c1886798d71806ab1e888d9e5ee87d0"),
        min_timestamp: 4242,
        smt_proof: Vec::new(),
    };
    let hashes = [l1_leaf_hash(&first), l1_leaf_hash(&second)];
    same("leaf 1", hashes[0], b256!("0312659ccc1839f6cdc8db9cbaefabc1ee9a9c1f71b3a20ceb906d80575c5736"));
    same("leaf 2", hashes[1], b256!("656b8c77bf5e04bcd2a80a92b417cfe5a37d6c5df1568728336bcef045c3fe1f"));
    let proofs =
        [l1_proof(&[ZERO_LEAF, node(hashes[1], B256::ZERO)]), l1_proof(&[B256::ZERO, node(ZERO_LEAF, hashes[0])])];
    let l1_info_root = b256!("462ed3d694d640f04f637e5e3893e8d12f407a53f50201401fd992bb5ab0faf0");
    for fork in [8, 9] {
        let state = two_accounts();
        let items = ["0b 73e6af6e 00000001", SMALL_TRANSFER, "0b 00000001 00000002"];
        let mut input = v2_request(fork, state.root, &items, TIMESTAMP, l1_info_root);
        let entry = |leaf: &L1InfoLeaf, proof: &[B256]| L1InfoLeaf { smt_proof: proof.to_vec(), ..leaf.clone() };
        v2(&mut input).l1_info_tree_data = [(1, entry(&first, &proofs[0])), (2, entry(&second, &proofs[1]))].into();
        let output = state.run(&input);

        let [one, two] = &output.blocks[..] else { panic!("fork {fork}: two blocks: {output:?}") };
        let [tx] = &one.transactions[..] else { panic!("fork {fork}: one transaction: {one:?}") };
        let l2_hash = b256!("ee297aed29da1fbe05f34b53050d793cbaa31642aa902c06aa84d860aaad6a62");
        let tx_root = b256!("ee05019cf5737aa903cb1c624baac0e488613359edffc6a09354dd48f8039c7d");
        same("tx hash", tx.tx_hash, b256!("d57e9bcee701d953738e80145bc4ab61b9c89721f368ee9300d253fd4a479704"));
        same("l2 tx hash", tx.tx_hash_l2, l2_hash);
        same("tx root", tx.state_root, tx_root);
        let info_roots = [
            b256!("69530d90fcbcc1e052ffc0aa9a47ab87839ed09c9c764d77316420e127df8e03"),
            b256!("85e9c18a017b997c6b778f0f22938fa3ecf9be2b7ae4f23beaeced0c27dc1eae"),
        ];
        let block_hashes = [
            b256!("f183d38e6464599399550b503e7d34dbfcb7e78ec3e310760c94ea822778b4fd"),
            b256!("53b1926609705e334d90d991debad57d2d26dce6a1498c7dd2ef05c3f7f5ae50"),
        ];
        same("parent hashes", [one.parent_hash, two.parent_hash], [TWO_ACCOUNTS, block_hashes[0]]);
        same("timestamps", [one.timestamp, two.timestamp], [TIMESTAMP - 1, TIMESTAMP]);
        same("gas", [one.gas_used, two.gas_used, output.gas_used], [21_000, 0, 21_000]);
        same("block info roots", [one.block_info_root, two.block_info_root], info_roots);
        same("block hashes", [one.block_hash, two.block_hash], block_hashes);
        let new_root = root_of(&output);
        same("new root", new_root, block_hashes[1]);
        let ger_slots = [
            b256!("e4432181e398ba2075bafb32c15cbb06d123151b69167397076f8e260276510b"),
            b256!("1cdac75e43f35ed0e62e863e99c7b624c63e27bb6d02108e5d11b241f98a9848"),
        ];
        for (slot, leaf) in ger_slots.into_iter().zip([&first, &second]) {
            same("L1 block hash", state.slot(new_root, GER_MANAGER, slot.into()), leaf.block_hash_l1.into());
        }
        same_hashes(
            &input,
            &output,
            b256!("5e7875ab198c4d93379c92990a5d0111af59a0e62b2c4a0e3898e5bd24a18e58"),
            b256!("cfae2cfa3b8f3f12abce1bccd90e9b203dfdbe56c0c412114f2d3e67c9a897db"),
        );
    }
}

/// §16.4
#[test]
fn skipped_transactions_are_listed_and_leave_nothing() {
    let items = [
        "0b73e6af6f00000000",
        SMALL_TRANSFER,
        "ef80843b9aca00830186a094187bd40226a7073b49163b1f6c2b73d8f2aa8478893635c9adc5dea00000808203e88080
         6199f98970ea3e0e9a59e32184ea11ae9158b9b93d70906e11f60eb6ce009602
         3c1bbbb437e58ea5f7bebd344d61cccd161c6b8accff11b50ea44300d3ab58bd 1b ff",
        "ee80843b9aca00830186a094187bd40226a7073b49163b1f6c2b73d8f2aa8478880de0b6b3a7640000808203e88080
         74ecb6abb3d84c322a4905c60199b8f422b79b940e8a853d580869268009ae31
         23fb6caa5b3afc410b79d9b68bf851df1fd46fd6923cc481b3e273aeb92ce67d 1c ff",
        "ee80843b9aca00830186a094abcced19d7f290b84608fec510bee872cc8f5112880de0b6b3a7640000808203e88080
         432b1bc18d96dea596edfe17b249a68e42117f738ecfaea4e9f92aa77935fb4d
         5b9a983a5ba73c27cbaa4de62b1d8ab8b908a941926387927dcd2319d8b4dfb2 1c ff",
        "ec80843b9aca00830186a094abcced19d7f290b84608fec510bee872cc8f5112880de0b6b3a764000080808080
         c58f68d4c65a9a131d17a426ab83da163a43e21f8811a70cd4ca79eb5d26f25d
         169e8e50ee8483669b2aef296e6dc68464e5af0dc582a54751ef50c2c9207b6b 1c ff",
    ];
    let after_first = b256!("df1bd0420dba0c0b745d6c2e536a3a20937bb1ab39499e2ed1e672cd7632f9e2");
    let after_third = b256!("b064b6f6d94bcd470954728be1d8ae22f24a39c546a4e503bd787a6c8ebe7d6f");
    let expected = [
        (
            b256!("d57e9bcee701d953738e80145bc4ab61b9c89721f368ee9300d253fd4a479704"),
            RomError::NoError,
            true,
            21_000,
            after_first,
        ),
        (
            b256!("c7d2a0a98292d8e1c06b4f330c0cbb18edc4f6f511822d82bfbef20d7d0af281"),
            RomError::IntrinsicInvalidBalance,
            true,
            21_000,
            after_first,
        ),
        (
            b256!("757a5aa97e795d4742a9b8cd7c8f4b203c380d361635a72f94fd1d0d44544bac"),
            RomError::NoError,
            true,
            42_000,
            after_third,
        ),
        (
            b256!("1211237af82267a908491370b30ccb61623544a522412c2f0ef372272cce39c7"),
            RomError::IntrinsicInvalidNonce,
            true,
            42_000,
            after_third,
        ),
        (
            b256!("fb820f787d3282f58d38921d596a6acce1a7f942ba38705e0de93003cc4ff127"),
            RomError::IntrinsicInvalidChainId,
            false,
            42_000,
            after_third,
        ),
    ];
    for fork in [8, 9] {
        let state = state(&[(A0, 100), (A1, 200), (THIRD, 100)]);
        same("old root", state.root, b256!("76b362a9afd679ea13a456ab103786492c65946be653589c1fd627841d0c6fdd"));
        let input = v2_request(fork, state.root, &items, TIMESTAMP, GER);
        same("batch size", input.batch_l2_data.len(), 573);
        let output = state.run(&input);
        let listed = transactions(&output);
        same("transactions", listed.len(), expected.len());
        for (at, (tx, (hash, error, status, cumulative, root))) in listed.iter().zip(expected).enumerate() {
            let found = (tx.tx_hash, tx.error, tx.status, tx.cumulative_gas_used, tx.state_root);
            same(&format!("fork {fork}, tx {at}"), found, (hash, error, status, cumulative, root));
            same(&format!("fork {fork}, gas of tx {at}"), tx.gas_used, 21_000);
        }
        let l2_hash = b256!("6e309cf3725d3ada7613b61e887109ee107a53b81eb6a2846426a411e5a158a6");
        same("l2 hash of the third", listed[2].tx_hash_l2, l2_hash);
        let [block] = &output.blocks[..] else { panic!("fork {fork}: one block: {:?}", output.blocks) };
        let info_root = b256!("b17d6bb600805b247aeb3749c1cc2df8d49abbedead409c353979233af219628");
        same("block info root", block.block_info_root, info_root);
        same("gas", (block.gas_used, output.gas_used), (42_000, 105_000));
        same("invalid batch", output.invalid_batch, false);
        let new_root = b256!("1f7bc8a70aea2383d32dbc5a1ed6f0923175b16dbd4ec1139a78963b58bd0736");
        same("new root", root_of(&output), new_root);
        same_hashes(
            &input,
            &output,
            b256!("ddf4cbc18e9ed9444d80e1b3625e74562ccf2963bda2335f69e2781858c4a7f1"),
            b256!("859b29ae0420e27a8173546e32bb633f71a3c62208fa885cf051d5ffb45e28f8"),
        );
    }
}

fn same_invalid(output: &BatchOutput, error: RomError, blocks: usize, gas_used: u64) {
    same("batch error", (output.invalid_batch, output.error_rom), (true, error));
    same("closed blocks", output.blocks.len(), blocks);
    same("gas used", output.gas_used, gas_used);
    same("root", root_of(output), TWO_ACCOUNTS);
}

/// §16.5, E1
#[test]
fn a_cut_batch_is_an_empty_transition() {
    let cut = bytes(SMALL_TRANSFER);
    let cut = hex::encode(&cut[..cut.len() - 3]);
    for &fork in V2 {
        let state = two_accounts();
        let input = v2_request(fork, state.root, &["0b73e6af6f00000000", &cut], TIMESTAMP, GER);
        same("batch size", input.batch_l2_data.len(), 119);
        let output = state.run(&input);
        same_invalid(&output, RomError::InvalidRlp, 0, 0);
        same_hashes(
            &input,
            &output,
            b256!("5c0522e9f4365ac6a1c6a93cd2f8c2d291bf4c0088d144eb0fc653f8f1f04e45"),
            b256!("fe4f1abe8de5d6856e76dad07d998e710e48a175e28cc8f5a9101b090f73e702"),
        );
    }
}

/// §16.5, E2
#[test]
fn a_forced_batch_opens_its_block_itself() {
    let l1_info_root = b256!("462ed3d694d640f04f637e5e3893e8d12f407a53f50201401fd992bb5ab0faf0");
    for fork in [8, 9] {
        let state = two_accounts();
        let mut input = v2_request(fork, state.root, &[SMALL_TRANSFER], TIMESTAMP, l1_info_root);
        v2(&mut input).forced_blockhash_l1 = FORCED_HASH;
        let output = state.run(&input);
        let [block] = &output.blocks[..] else { panic!("fork {fork}: one block: {output:?}") };
        let [tx] = &block.transactions[..] else { panic!("fork {fork}: one transaction: {block:?}") };
        let tx_root = b256!("0c3e65370477a7f3072260a5243e8a4fe49519ae45efa7ac949c6d9d388ccb0d");
        let info_root = b256!("c69f62da6469c60bba98bc2113aee05d0a574038a2b171f14a2b6a0b5fd13afd");
        let new_root = b256!("2c213c6303950389ff98e1226fabf5e48a622b5fcebfb84d247802b55be29629");
        same("tx root", tx.state_root, tx_root);
        same("time", block.timestamp, TIMESTAMP);
        same("L1 info", (block.ger, block.block_hash_l1), (l1_info_root, FORCED_HASH));
        same("block info root", block.block_info_root, info_root);
        same("new root", root_of(&output), new_root);
        let ger_slot: U256 = b256!("82cbf14bf2acb86dc1ed7fbf6087acd60048d9ed86a2efa4765af0f458f79590").into();
        same("slot of the global exit root", mapping_slot(l1_info_root.into(), 0), ger_slot);
        same("its L1 block hash", state.slot(new_root, GER_MANAGER, ger_slot), FORCED_HASH.into());
        same_hashes(
            &input,
            &output,
            b256!("133b422a9d0d3effa6e457fcacd1397174186639950c5b9b0e5ad1456faa2785"),
            b256!("53378811a7b25737187f15c2a34923a85c516ff49fce3d8b10ce491b4fc3414b"),
        );
    }
}

/// §16.5, E3
#[test]
fn a_zero_l1_leaf_undoes_the_batch_in_fork_9() {
    let first_hash = l1_leaf_hash(&first_l1_leaf());
    let third_and_fourth = b256!("b5d05e7ec69f076afd4596fab0aa7a8d887b6444d11e1d1074b4379e9c75ce7a");
    let first_four = node(node(ZERO_LEAF, first_hash), third_and_fourth);
    let two_empty = node(B256::ZERO, B256::ZERO);
    let l1_info_root = b256!("6d6736762e8abbaf9a855c16a9bdd5bf3aae639b92b9bdf36af78b18833ba7ab");
    let state = two_accounts();
    let items = ["0b 73e6af6e 00000001", SMALL_TRANSFER, "0b 00000001 00000007"];
    let mut input = v2_request(9, state.root, &items, TIMESTAMP, l1_info_root);
    let first = L1InfoLeaf { smt_proof: l1_proof(&[ZERO_LEAF, third_and_fourth]), ..first_l1_leaf() };
    let zero = L1InfoLeaf { smt_proof: l1_proof(&[B256::ZERO, two_empty, first_four]), ..L1InfoLeaf::default() };
    v2(&mut input).l1_info_tree_data = [(1, first), (7, zero)].into();
    let output = state.run(&input);
    same_invalid(&output, RomError::InvalidL1InfoTreeIndex, 1, 21_000);
    let block_hash = b256!("f183d38e6464599399550b503e7d34dbfcb7e78ec3e310760c94ea822778b4fd");
    same("hash of the closed block", output.blocks[0].block_hash, block_hash);
    same_hashes(
        &input,
        &output,
        b256!("69a921af83ec2106c2e311bef9a6d6907c8b6b92b0f008fb847914baff87b3a5"),
        b256!("5fb71959d81b5d982511e22a5f7db2aee66d17f9016c333f7ad531fca0610869"),
    );
}

/// §16.5, E4
#[test]
fn a_forced_batch_may_not_change_block() {
    for &fork in V2 {
        let state = two_accounts();
        let mut input = v2_request(fork, state.root, &["0b73e6af6f00000000", SMALL_TRANSFER], TIMESTAMP, GER);
        v2(&mut input).forced_blockhash_l1 = FORCED_HASH;
        same_invalid(&state.run(&input), RomError::InvalidDecodeChangeL2Block, 0, 0);
    }
}

/// §16.5, E5 and E6
#[test]
fn block_info_leaves_have_the_known_keys_and_values() {
    let key = |kind, index, log_index| block_info_key(kind, index, log_index).to_b256();
    let log_keys = [
        b256!("db96dd65d01ca9ffbcbb19490f3b8338090176db325e55699e7878c55d6acbd7"),
        b256!("3f87fe7842cc034951f21f5ba4eb0e2a1b25706539df81c10051cc31bf68baff"),
    ];
    same("logs", [key(BlockInfoKind::Log, 0, 0), key(BlockInfoKind::Log, 0, 1)], log_keys);
    let topic = |value: u64| B256::from(U256::from(value));
    let log = b256!("c9df02ce90b3bbc8740cd0e66d42d804775ab0626b7af049f3456589dce99f69");
    same("log of a zero word with one topic", log_hash(&[0; 32], &[topic(1)]).to_b256(), log);
    for (kind, index, expected) in [
        (BlockInfoKind::Header, 7, b256!("e8006cca4b7986af459ebeb990678712787cd7cc6e47c2bd770a5ba418eb76c7")),
        (BlockInfoKind::Status, 0, b256!("919082d7c4896c1d49d2e12e0551dcdfa215d9cd047d8629b30075e8dd452d75")),
        (BlockInfoKind::CumulativeGas, 0, b256!("2bcc78cf52cc3802f1e68183092284c94c1e48366e6419f478d5857968b9b55c")),
        (
            BlockInfoKind::EffectivePercentage,
            0,
            b256!("b33bb204697b78fac75c9dde922be2ea266fddb64133626c8bea6eab6500d703"),
        ),
    ] {
        same(&format!("{kind:?} {index}"), key(kind, index, 0), expected);
    }
}

/// §16.5, E7
#[test]
fn an_empty_batch_changes_nothing() {
    for &fork in V2 {
        for forced_hash in [B256::ZERO, FORCED_HASH] {
            let state = two_accounts();
            let mut input = v2_request(fork, state.root, &[], TIMESTAMP, GER);
            v2(&mut input).forced_blockhash_l1 = forced_hash;
            let output = state.run(&input);
            let of_nothing = b256!("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
            same("batch hash", keccak256(&input.batch_l2_data), of_nothing);
            same("blocks", output.blocks.len(), 0);
            same("invalid batch", output.invalid_batch, false);
            same("root", root_of(&output), TWO_ACCOUNTS);
        }
    }
}

/** What the shop sells. Prices are in cents. */
export interface Tea {
  readonly id: string
  readonly name: string
  readonly origin: string
  readonly taste: string
  readonly cents: number
  readonly kind: "green" | "black" | "white" | "red" | "oolong" | "mint"
}

export const teas: ReadonlyArray<Tea> = [
  { id: "sencha", name: "Sencha", origin: "Shizuoka", taste: "Cut grass, a little salt", cents: 1250, kind: "green" },
  { id: "assam", name: "Assam", origin: "Jorhat", taste: "Malt, wants milk", cents: 890, kind: "black" },
  { id: "silver", name: "Silver Needle", origin: "Fuding", taste: "Hay and honey", cents: 2400, kind: "white" },
  { id: "dong-ding", name: "Dong Ding", origin: "Nantou", taste: "Toast, then orchids", cents: 1890, kind: "oolong" },
  { id: "rooibos", name: "Rooibos", origin: "Cederberg", taste: "Vanilla, no caffeine", cents: 690, kind: "red" },
  { id: "nana", name: "Nana Mint", origin: "Meknes", taste: "Cool and sweet", cents: 590, kind: "mint" }
]

export const teaOf = (id: string): Tea | undefined => teas.find((tea) => tea.id === id)
